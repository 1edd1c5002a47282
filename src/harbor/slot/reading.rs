//! How a link is read, and when it is not: a large frame waits for memory (`inbound`).

use super::super::intake;
use super::super::kin::Word;
use super::super::link::{Pause, Reserved};
use super::super::{Action, Hello};
use super::*;
use crate::limits::FRAME_PACE_BYTES;

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
        let is_gated = link.decoder.gated().is_some();
        match result {
            Ok(rest) if is_gated => self.pause_reading(rest.to_vec(), desk),
            Ok(_) => {}
            Err(fault) => self.fault(fault.into(), desk),
        }
    }

    /// There is no memory for the frame that begins. A node of our kind is told, so that it does not take us for dead.
    fn pause_reading(&mut self, rest: Vec<u8>, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        let pause = Pause::new(rest, desk.now, desk.bounds.pause_time_max);
        desk.wake_at(pause.patience.due());
        link.pause = Some(pause);
        link.pulse.suspend(longest_rest(desk));
        desk.actions.push_back(Action::Pause { conn: link.conn });
        self.tell(Word::Pause, desk);
    }

    /// It is the link's turn, and memory for its frame is reserved.
    pub(in super::super) fn admitted(&mut self, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        let (Some(pause), Some(bytes)) = (link.pause.take(), link.decoder.gated()) else { return };
        link.frame = Some(Reserved::new(bytes, desk.now));
        link.decoder.admit();
        self.listen_again(desk);
        let State::Up(link) = &self.state else { return };
        desk.actions.push_back(Action::Resume { conn: link.conn });
        self.tell(Word::Resume, desk);
        self.read(&pause.rest, desk);
    }

    /// Says a word to a peer that understands it.
    fn tell(&mut self, word: Word, desk: &mut Desk) {
        let hello = desk.met.get(&self.id);
        if hello.is_some_and(|hello| hello.capabilities & Hello::PULSE != 0) {
            self.say(word, desk);
        }
    }

    /// Others wait for memory: whoever holds some has to send.
    pub(in super::super) fn check_pace(&mut self, desk: &mut Desk) {
        let State::Up(link) = &mut self.state else { return };
        let arrived = link.decoder.arrived();
        let Some(frame) = &mut link.frame else { return };
        if !frame.patience.is_over(desk.now) {
            return;
        }
        if arrived.saturating_sub(frame.arrived) < FRAME_PACE_BYTES {
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
