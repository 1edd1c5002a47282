//! Links whose peers are gone and have not said so.

use super::super::Action;
use super::super::kin::{self, Word};
use super::super::pulse::{Rhythm, Sign};
use super::*;
use std::time::Duration;

impl Slot {
    /// Both nodes are of one kind and answer to PING.
    pub(in super::super) fn begin_pulse(&mut self, desk: &mut Desk) {
        if let State::Up(link) = &mut self.state {
            link.pulse.begin(desk.now, rhythm(desk));
            link.pulse.due().into_iter().for_each(|due| desk.wake_at(due));
        }
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

    /// Does what is due about a link that is up.
    pub(super) fn check_liveness(&mut self, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        if let Some(stall) = link.stall.as_mut().filter(|stall| stall.is_due(desk.now))
            && stall.is_over(desk.now)
        {
            return self.give_up(DownReason::Stalled, desk);
        }
        let rhythm = rhythm(desk);
        match link.pulse.look(desk.now, link.written(), rhythm) {
            Sign::Fine => {}
            Sign::Silent => self.ask(rhythm.deadline - rhythm.interval, desk),
            Sign::Lost => self.give_up(DownReason::Silent, desk),
        }
    }

    /// Somebody comes with the id of this link. If the link's peer is gone, that shall be known soon: a node of our kind is
    /// asked, and has `patience`; for another the system looks whether its machine still knows the connection.
    pub(super) fn probe(&mut self, patience: Duration, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
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

    /// Says a word to the node of our kind.
    pub(in super::super) fn say(&mut self, word: Word, desk: &mut Desk) {
        self.send(kin::message(desk.own, self.id, word), desk);
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
