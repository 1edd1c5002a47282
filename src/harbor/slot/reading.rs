//! How a link is read, and when it is not: what it brings waits for memory (`inbound`).

use super::super::intake::{self, Later};
use super::super::kin::Word;
use super::super::link::Pause;
use super::super::{Action, Hello};
use super::*;
use crate::limits::{FRAME_PACE_BYTES, FRAME_STEP_BYTES, SHORT_READ_BYTES};

impl Slot {
    /// Bytes of the link that is up. What comes while the link is not read was under way before that was said.
    pub(super) fn read(&mut self, chunk: &[u8], desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        link.pulse.hear(desk.now);
        if let Some(pause) = &mut link.pause {
            return pause.rest.extend_from_slice(chunk);
        }
        let confirmed_before = link.confirmed();
        let result = intake::receive(self.id, link, chunk, desk);
        self.account.delivered += link.confirmed() - confirmed_before;
        mutant::when(Mutant::DeliveredMiscounted, || self.account.delivered += link.confirmed() & 1);
        match result {
            Ok(Some(Later { compressed, rest })) => self.pause_reading(compressed, rest, desk),
            Ok(None) => {}
            Err(fault) => self.fault(fault, desk),
        }
    }

    /// How many bytes may be read from the link now that memory is short; none: it is not read until it is its turn.
    pub(in super::super) fn room(&mut self, conn: ConnId, desk: &mut Desk) -> usize {
        let State::Up(link) = &self.state else { return SHORT_READ_BYTES };
        if link.conn != conn {
            return SHORT_READ_BYTES;
        }
        if link.pause.is_some() {
            return 0;
        }
        if link.frame.is_some() {
            // What it brings has its memory.
            return FRAME_STEP_BYTES;
        }
        if !desk.inbound.is_full() {
            return SHORT_READ_BYTES;
        }
        desk.inbound.wait(self.id);
        self.pause_reading(None, &[], desk);
        0
    }

    /// There is no memory for what comes.
    fn pause_reading(&mut self, compressed: Option<Envelope>, rest: &[u8], desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        let rest = if mutant::is(Mutant::RestLost) { Vec::new() } else { rest.to_vec() };
        let pause = Pause::new(compressed, rest, desk.now, desk.bounds.pause_time_max);
        desk.wake_at(pause.patience.due());
        link.pause = Some(pause);
        desk.actions.push_back(Action::Pause { conn: link.conn });
        self.rest(desk);
    }

    /// While the link is not read nothing is heard. A node of our kind is told, so that it does not take us for dead.
    pub(super) fn rest(&mut self, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        if link.pause.is_some() {
            link.pulse.suspend(longest_rest(desk));
            mutant::unless(Mutant::PauseUntold, || self.tell(Word::Pause, desk));
        }
    }

    /// Whether the link is not read now.
    pub(in super::super) fn is_paused(&self) -> bool {
        matches!(&self.state, State::Up(link) if link.pause.is_some())
    }

    /// It is the link's turn; memory for its frame, if it waits for one, is reserved.
    pub(in super::super) fn admitted(&mut self, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        let Some(pause) = link.pause.take() else { return };
        if let Some(bytes) = link.decoder.gated() {
            link.begin_frame(bytes, desk);
        }
        desk.actions.push_back(Action::Resume { conn: link.conn });
        self.listen_again(desk);
        self.tell(Word::Resume, desk);
        if let Some(frame) = &pause.compressed {
            self.inflate(frame, desk);
        }
        self.read(&pause.rest, desk);
    }

    fn inflate(&mut self, frame: &Envelope, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        let confirmed_before = link.confirmed();
        let result = intake::inflate(self.id, frame, link, desk);
        self.account.delivered += link.confirmed() - confirmed_before;
        if let Err(fault) = result {
            self.fault(fault, desk);
        }
    }

    /// Says a word to a peer that understands it: one that said so, or that we greeted, whose hello may be what is not read.
    fn tell(&mut self, word: Word, desk: &mut Desk) {
        let State::Up(link) = &self.state else { return };
        let hello = desk.met.get(&self.id);
        if hello.map_or(link.is_greeted, |hello| hello.capabilities & Hello::PULSE != 0) {
            self.say(word, desk);
        }
    }

    /// While others wait for memory, whoever reads a frame into some has to send.
    pub(super) fn check_pace(&mut self, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        let (arrived, is_paused) = (link.decoder.arrived(), link.pause.is_some());
        let Some(frame) = link.frame.as_mut().filter(|frame| frame.patience.is_due(desk.now)) else { return };
        let is_over = frame.patience.is_over(desk.now);
        let is_awaited = !is_paused && desk.inbound.has_frames_waiting();
        if is_awaited && !is_over {
            return;
        }
        if is_awaited && arrived.saturating_sub(frame.arrived) < FRAME_PACE_BYTES {
            let length = frame.bytes;
            return self.fault(Fault::SlowFrame { arrived, length }, desk);
        }
        frame.arrived = arrived;
        frame.patience.restart(desk.now);
    }
}

/// When a link that is not read is read again, or is given up, at the latest; with some time for the word about it.
pub(super) fn longest_rest(desk: &Desk) -> Instant {
    desk.now + desk.bounds.pause_time_max + desk.bounds.heartbeat_deadline
}
