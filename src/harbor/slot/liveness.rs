//! Links whose peers are gone and have not said so.

use super::super::kin::{self, Word};
use super::super::patience::Patience;
use super::super::pulse::{Rhythm, Sign};
use super::super::{Action, Hello};
use super::reading::longest_rest;
use super::*;
use crate::limits::CHUNK_BYTES;
use std::time::Duration;

impl Slot {
    /// Both nodes are of one kind and answer to PING.
    pub(in super::super) fn begin_pulse(&mut self, desk: &mut Desk) {
        if let State::Up(link) = &mut self.state {
            link.pulse.begin(desk.now, rhythm(desk));
            // Either may have said that it does not read before both had said hello.
            let until = if link.pause.is_some() { longest_rest(desk) } else { link.peer_rests_until };
            if until > desk.now {
                link.pulse.suspend(until);
            }
            link.pulse.due().into_iter().for_each(|due| desk.wake_at(due));
        }
    }

    /// Whether the peer's silence means something.
    pub(in super::super) fn is_watched(&self) -> bool {
        matches!(&self.state, State::Up(link) if !link.pulse.is_off())
    }

    /// A PONG came.
    pub(in super::super) fn pong(&mut self, number: u64) {
        if let State::Up(link) = &mut self.state
            && let Some(frame) = link.pulse.answered(number)
        {
            let confirmed_before = link.confirmed();
            link.confirm(frame);
            self.account.delivered += link.confirmed() - confirmed_before;
        }
    }

    /// The peer says that it has no memory to read this link for a while: it cannot answer, and bytes for it cannot move.
    pub(in super::super) fn peer_pauses(&mut self, desk: &mut Desk) {
        let until = longest_rest(desk);
        if let State::Up(link) = &mut self.state {
            link.peer_rests_until = until;
            link.pulse.suspend(until);
        }
    }

    /// It reads again.
    pub(in super::super) fn peer_resumes(&mut self, desk: &mut Desk) {
        if let State::Up(link) = &mut self.state {
            link.peer_rests_until = Instant::default();
            self.listen_again(desk);
        }
    }

    /// A silence that was nobody's fault is over.
    pub(super) fn listen_again(&mut self, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        if link.pause.is_none() && link.peer_rests_until <= desk.now {
            link.pulse.resume(desk.now, rhythm(desk));
            link.pulse.due().into_iter().for_each(|due| desk.wake_at(due));
        }
    }

    /// Does what is due about a link that is up.
    pub(super) fn check_liveness(&mut self, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        let (now, is_resting) = (desk.now, link.peer_rests_until > desk.now);
        let is_over = |patience: &mut Patience| patience.is_due(now) && patience.is_over(now);
        if link.pause.as_mut().is_some_and(|pause| is_over(&mut pause.patience)) {
            desk.inbound.note_crowded();
            return self.give_up(DownReason::Crowded, desk);
        }
        link.stall.iter_mut().filter(|_| is_resting).for_each(|stall| stall.restart(now));
        if link.stall.as_mut().is_some_and(is_over) {
            match &mut link.stall {
                Some(stall) if mutant::is(Mutant::StallUnseen) => stall.restart(now),
                Some(_) | None => return self.give_up(DownReason::Stalled, desk),
            }
        }
        self.check_pace(desk);
        let State::Up(link) = &mut self.state else { return };
        let rhythm = rhythm(desk);
        match link.pulse.look(desk.now, link.written(), rhythm) {
            Sign::Fine => {}
            Sign::Silent if mutant::is(Mutant::Impatience) => self.give_up(DownReason::Silent, desk),
            Sign::Lost if mutant::is(Mutant::SilenceUnseen) => link.pulse.hear(desk.now),
            Sign::Silent => self.ask(rhythm.deadline - rhythm.interval, desk),
            Sign::Lost => self.give_up(DownReason::Silent, desk),
        }
    }

    /// Somebody comes with the id of this link. If the link's peer is gone, that shall be known soon: a node of our kind is
    /// asked, and has `patience`; for another the system looks whether its machine still knows the connection.
    pub(super) fn probe(&mut self, patience: Duration, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        if link.peer_rests_until > desk.now || link.pause.is_some() {
            return;
        }
        if link.pulse.is_listening() {
            self.ask(patience, desk);
        } else if link.pulse.is_off() && link.probed_until <= desk.now {
            link.probed_until = desk.now + desk.bounds.probe_time_max;
            desk.actions.push_back(Action::Probe { conn: link.conn });
        }
    }

    /// Sends a PING, to be answered within `patience`.
    fn ask(&mut self, patience: Duration, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        let (number, before) = (link.pulse.next_number(), link.frames());
        self.say(Word::Ping(number), desk);
        let State::Up(link) = &mut self.state else { return };
        let frame = (link.frames() > before).then_some(link.frames());
        link.pulse.asked(desk.now, frame, patience, rhythm(desk));
        link.pulse.due().into_iter().for_each(|due| desk.wake_at(due));
    }

    /// Says hello, once on each link, whether there is room or not: who has not heard it answers no question.
    pub(in super::super) fn greet(&mut self, hello: Hello, desk: &mut Desk) {
        if let State::Up(link) = &mut self.state {
            link.is_greeted = true;
            self.append(Word::Hello(hello), desk);
            self.rest(desk);
        }
    }

    /// Says a word to the node of our kind. Peers that do not read keep none from it: the first chunk has room for them
    /// whatever the node has unsent, and what is more than that is bytes that it hears.
    pub(in super::super) fn say(&mut self, word: Word, desk: &mut Desk) {
        match &self.state {
            State::Up(link) if link.outbox.len() < CHUNK_BYTES => self.append(word, desk),
            State::Up(_) | State::Wait { .. } | State::Handshake(_) | State::Down { .. } => {
                self.send(kin::spoken(desk.own, self.id, word), desk);
            }
        }
    }

    fn append(&mut self, word: Word, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        self.account.accepted += 1;
        if let Err(SendError { reason, message }) = link.append(kin::spoken(desk.own, self.id, word), desk) {
            self.fail(message, reason.into(), desk);
        }
    }

    /// The link is closed with whatever is unsent, and dialled again by the side that dials.
    pub(in super::super) fn give_up(&mut self, reason: DownReason, desk: &mut Desk) {
        if let State::Up(link) = &self.state {
            desk.close(link.conn);
            self.lost(reason, desk);
        }
    }
}

fn rhythm(desk: &Desk) -> Rhythm {
    let interval = desk.bounds.heartbeat;
    Rhythm { interval, deadline: desk.bounds.heartbeat_deadline.max(2 * interval) }
}
