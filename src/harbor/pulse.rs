//! Whether a node of our kind is still there, although nothing comes from it.
//!
//! ```text
//!         both said hello              nothing for `interval`: PING n
//!  ┌─────┐ ──────────────▶ ┌───────────┐ ──────────────────────▶ ┌───────┐
//!  │ Off │                 │ Listening │                         │ Asked │ ── nothing for the rest of `deadline` ──▶ lost
//!  └─────┘                 └───────────┘ ◀────────────────────── └───────┘
//!   a real node                            PONG n, or anything
//! ```
//!
//! Any bytes are a sign of life, so a link with traffic asks nothing: each read stores an instant, which is looked at once
//! in each interval. A PONG proves more: what was sent before the PING of its number has arrived.
//!
//! The peer's time runs from when the PING was handed to the system, and only while this machine runs ([`Patience`]).

use super::patience::Patience;
use crate::clock::Instant;
use crate::limits::HEARTBEAT_LOOKS;
use std::time::Duration;

/// The times of a [`Pulse`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    /// How long a link is silent before it is asked; zero: never.
    pub(super) interval: Duration,
    /// How long it is silent before it is lost.
    pub(super) deadline: Duration,
}

impl Rhythm {
    /// When a link that was heard at `at` has been silent for an interval. All links are looked at at the same few
    /// instants: the machine is called for all of them at once.
    fn due_after(self, at: Instant) -> Instant {
        let grid = (self.interval.as_nanos() as u64 / HEARTBEAT_LOOKS).max(1);
        Instant::from_nanos((at + self.interval).nanos().div_ceil(grid).saturating_mul(grid))
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// When bytes last came.
    heard: Instant,
    /// The number of the last PING.
    number: u64,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// The peer answers to no PING.
    #[default]
    Off,
    Listening {
        due: Instant,
    },
    Asked {
        /// The PING's frame: until it is written the peer owes nothing.
        frame: u64,
        asked: Instant,
        patience: Patience,
    },
}

/// What a look at the pulse says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Nothing has to be done before the next look.
    Fine,
    /// A PING has to be sent.
    Silent,
    /// The peer is gone.
    Lost,
}

impl Pulse {
    /// Bytes came.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Both nodes said hello, and the peer answers to PING: from now on its silence means something.
    pub(super) fn begin(&mut self, now: Instant, rhythm: Rhythm) {
        if let State::Off = self.state
            && !rhythm.interval.is_zero()
        {
            self.state = State::Listening { due: rhythm.due_after(now) };
        }
    }

    /// Whether the peer's silence means nothing.
    pub(super) fn is_off(&self) -> bool {
        matches!(self.state, State::Off)
    }

    /// Whether the peer can be asked, and has not been.
    pub(super) fn is_listening(&self) -> bool {
        matches!(self.state, State::Listening { .. })
    }

    /// Nothing can be heard until then, or be answered.
    pub(super) fn suspend(&mut self, until: Instant) {
        if !self.is_off() {
            self.state = State::Listening { due: until };
        }
    }

    /// Silence means something again.
    pub(super) fn resume(&mut self, now: Instant, rhythm: Rhythm) {
        if !self.is_off() {
            self.hear(now);
            self.state = State::Listening { due: rhythm.due_after(now) };
        }
    }

    /// When to look; none if there is nothing to see.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Off => None,
            State::Listening { due } => Some(*due),
            State::Asked { patience, .. } => Some(patience.due()),
        }
    }

    /// Looks, if it is time. `written`: how many frames of the link were handed to the system.
    pub(super) fn look(&mut self, now: Instant, written: u64, rhythm: Rhythm) -> Sign {
        if self.due().is_none_or(|due| due > now) {
            return Sign::Fine;
        }
        let (is_heard, sign) = match &mut self.state {
            State::Off => (false, Sign::Fine),
            State::Listening { .. } => (self.heard + rhythm.interval > now, Sign::Silent),
            State::Asked { frame, asked, patience } => {
                if written < *frame {
                    patience.restart(now);
                }
                let sign = if patience.is_over(now) { Sign::Lost } else { Sign::Fine };
                (self.heard >= *asked, sign)
            }
        };
        if is_heard {
            self.state = State::Listening { due: rhythm.due_after(self.heard) };
            return Sign::Fine;
        }
        sign
    }

    /// The number of the next PING.
    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// The PING was sent as this frame of the link, and the peer has `patience`; or there was no room for it: later, then.
    pub(super) fn asked(&mut self, now: Instant, frame: Option<u64>, patience: Duration, rhythm: Rhythm) {
        self.state = match frame {
            Some(frame) => {
                let patience = Patience::new(now, rhythm.interval, patience);
                State::Asked { frame, asked: now, patience }
            }
            None => State::Listening { due: rhythm.due_after(now) },
        };
    }

    /// A PONG came: the frame that it proves to have arrived. One that was not asked for proves nothing.
    pub(super) fn answered(&mut self, number: u64) -> Option<u64> {
        match &self.state {
            State::Asked { frame, .. } if number == self.number => Some(*frame),
            State::Off | State::Listening { .. } | State::Asked { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RHYTHM: Rhythm =
        Rhythm { interval: Duration::from_millis(10), deadline: Duration::from_millis(50) };

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    fn listening() -> Pulse {
        let mut pulse = Pulse::default();
        pulse.hear(at(0));
        pulse.begin(at(0), RHYTHM);
        pulse
    }

    /// Asked at 10 ms, as frame 3, which is written.
    fn asked() -> Pulse {
        let mut pulse = listening();
        assert_eq!(pulse.look(at(10), 2, RHYTHM), Sign::Silent);
        assert_eq!(pulse.next_number(), 1);
        pulse.asked(at(10), Some(3), RHYTHM.deadline - RHYTHM.interval, RHYTHM);
        pulse
    }

    /// Looks whenever it is due, up to `until`.
    fn looks(pulse: &mut Pulse, written: u64, until: u64) -> Sign {
        while let Some(due) = pulse.due().filter(|due| *due <= at(until)) {
            let sign = pulse.look(due, written, RHYTHM);
            if sign != Sign::Fine {
                return sign;
            }
        }
        Sign::Fine
    }

    #[test]
    fn links_are_looked_at_together() {
        let due = |nanos| RHYTHM.due_after(Instant::from_nanos(nanos)).nanos();
        assert_eq!((due(0), due(1), due(2_500_000)), (10_000_000, 12_500_000, 12_500_000));
    }

    #[test]
    fn a_real_node_is_not_asked() {
        let mut pulse = Pulse::default();
        assert_eq!((pulse.due(), pulse.look(at(1_000_000), 0, RHYTHM)), (None, Sign::Fine));
        pulse.begin(at(0), Rhythm { interval: Duration::ZERO, ..RHYTHM });
        assert_eq!(pulse.due(), None, "nobody is, if that is switched off");
    }

    #[test]
    fn who_is_heard_is_not_asked() {
        let mut pulse = listening();
        for millis in (5..1000).step_by(9) {
            pulse.hear(at(millis));
            assert_eq!(looks(&mut pulse, 0, millis), Sign::Fine);
        }
    }

    #[test]
    fn who_is_silent_is_lost_at_the_deadline() {
        let mut pulse = asked();
        assert_eq!(looks(&mut pulse, 3, 49), Sign::Fine);
        assert_eq!(looks(&mut pulse, 3, 50), Sign::Lost);
    }

    #[test]
    fn anything_that_comes_is_a_sign_of_life() {
        let mut pulse = asked();
        pulse.hear(at(30));
        assert_eq!(looks(&mut pulse, 3, 39), Sign::Fine);
        assert_eq!(looks(&mut pulse, 3, 40), Sign::Silent, "then silence begins anew");
    }

    #[test]
    fn a_question_that_is_not_written_is_not_answered() {
        let mut pulse = asked();
        assert_eq!(looks(&mut pulse, 2, 1000), Sign::Fine);
        assert_eq!(looks(&mut pulse, 3, 1039), Sign::Fine);
        assert_eq!(looks(&mut pulse, 3, 1040), Sign::Lost);
    }

    #[test]
    fn a_question_for_which_there_was_no_room_is_asked_later() {
        let mut pulse = listening();
        assert_eq!(looks(&mut pulse, 2, 10), Sign::Silent);
        pulse.asked(at(10), None, RHYTHM.deadline, RHYTHM);
        assert_eq!((looks(&mut pulse, 9, 19), looks(&mut pulse, 9, 20)), (Sign::Fine, Sign::Silent));
    }

    #[test]
    fn time_in_which_this_machine_stood_still_is_not_the_peer_s() {
        let mut pulse = asked();
        for (millis, sign) in [(20, Sign::Fine), (9_000, Sign::Fine), (19_000, Sign::Fine)] {
            assert_eq!(pulse.look(at(millis), 3, RHYTHM), sign, "{millis}");
        }
        assert_eq!(looks(&mut pulse, 3, 19_009), Sign::Fine);
        assert_eq!(looks(&mut pulse, 3, 19_010), Sign::Lost, "its four steps of time are over");
    }

    #[test]
    fn only_the_answer_to_the_last_question_proves_something() {
        let mut pulse = asked();
        assert_eq!((pulse.answered(2), pulse.answered(0)), (None, None));
        assert_eq!(pulse.answered(1), Some(3));
        pulse.hear(at(11));
        assert_eq!(looks(&mut pulse, 3, 20), Sign::Fine);
        assert_eq!(pulse.answered(1), None);
    }
}
