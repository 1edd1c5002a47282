//! Names end with their services (G16).
//!
//! Skynet's wire has no word for that. A name that ends is given to an id of its node that is no service: everybody hears
//! that by an ordinary `N`, so real callers get errors, and nodes of our kind know that the name is free.
//!
//! ```text
//!  service ends ──▶ R name :05000006 ──▶ N name :05000006 to all ──▶ calls fail, queries wait, anybody of our kind may take it
//! ```
//!
//! What ends while there is no master is told to the next one if that is of our kind; a real one that begins again knows nothing.

use super::{Slave, SlaveOutput, SlaveState};
use crate::clock::Instant;
use crate::message::{Handle, HarborAnswer, Name};
use crate::wire::ConnId;
use crate::wire::control::Packet;

impl Slave {
    /// A service of this node gives up a name (G16).
    pub fn handle_unregister(&mut self, _now: Instant, name: Name, handle: Handle) {
        self.coveted.forget_if(Some(name), handle);
        self.give_up_claims(Some(name), handle);
        if self.names.unregister(&name, handle) {
            self.end_name(name);
        }
    }

    /// A service of this node ended, and with it its names (G16).
    pub fn handle_ended(&mut self, _now: Instant, handle: Handle) {
        self.coveted.forget_if(None, handle);
        self.give_up_claims(None, handle);
        for name in self.names.of(handle) {
            self.names.unregister(&name, handle);
            self.end_name(name);
        }
    }

    /// A name was this node's, and is nobody's now.
    pub(super) fn end_name(&mut self, name: Name) {
        let nobody = self.nobody();
        let was_told = !self.claims.forget_untold(&name);
        let is_ready = self.state() == SlaveState::Ready;
        // While nobody else hears of it, the name may go to another service of this node as if it had moved.
        let epoch = self.names.epoch(&name).filter(|_| !is_ready);
        self.learn(name, nobody, epoch);
        if is_ready && !was_told {
            self.forget_vacant(name);
        }
        if !is_ready {
            self.names.note_ended(name, &self.bounds);
        } else if was_told || self.has_kin_master() {
            // A master of our kind judges whose the name is. A real one would take it from whoever has it.
            self.send_if_ready(Packet::Register { name: name.into(), handle: nobody });
        }
    }

    /// The node is ready: names that ended meanwhile.
    pub(super) fn tell_ended(&mut self, conn: ConnId) {
        for name in self.names.take_ended() {
            // This master may know nothing of it, or another owner.
            self.forget_vacant(name);
            if self.has_kin_master() {
                self.send(conn, Packet::Register { name: name.into(), handle: self.nobody() });
            }
        }
    }

    /// What is known to be nobody's under one master may be somebody's under the next, which does not say so by itself.
    pub(super) fn forget_vacant(&mut self, name: Name) {
        if self.names.forget_vacant(&name) {
            self.outputs.push_back(SlaveOutput::Forgotten { name });
        }
    }

    /// What a service wants is of no use any more.
    pub(super) fn give_up_claims(&mut self, name: Option<Name>, handle: Handle) {
        for waiter in self.claims.give_up(name, handle) {
            self.answer(waiter, HarborAnswer::NotFound);
        }
    }

    /// A name of nobody is forgotten if there is no room for this one.
    pub(super) fn make_room(&mut self, name: &Name) {
        if let Some(name) = self.names.make_room(name, &self.bounds) {
            self.outputs.push_back(SlaveOutput::Forgotten { name });
        }
    }
}
