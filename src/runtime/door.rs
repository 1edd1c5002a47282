//! The ways in for threads that are no workers: foreign threads, responders that are dropped anywhere, the I/O thread.

use super::address::Destination;
use super::cell::{Cell, Control, Letter, Turn};
use super::route::{Room, answer_envelope, post_here, substitute};
use super::shared::{Outgoing, Shared};
use crate::limits::SERVICE_ID_VACANT;
use crate::message::{
    Body, CallError, Envelope, Handle, HarborAnswer, HarborRequest, Name, SendError, SendReason, Waiter,
};
use crate::queue::{Participant, Pool};
use crate::sync::Mutex;
use std::sync::{Arc, Weak};

/// For any thread, one message at a time. Its lock is held for one push and never while user code runs.
pub(crate) struct Door {
    shared: Weak<Shared>,
    way: Mutex<Way>,
}

struct Way {
    participant: Participant<Cell, Letter>,
    pool: Pool<Letter>,
}

impl Way {
    fn new(shared: &Shared) -> Self {
        Self { participant: shared.directory.register(), pool: Pool::new(&shared.depot) }
    }
}

impl Door {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::downgrade(shared), way: Mutex::new(Way::new(shared)) }
    }

    /// Sends from outside.
    ///
    /// # Errors
    /// Gives the message back with the reason; `Shutdown` once the node is gone.
    pub(crate) fn post(&self, to: Destination, letter: Letter) -> Result<(), SendError<Letter>> {
        self.route(to, letter, Room::Bounded)
    }

    fn route(&self, to: Destination, mut letter: Letter, room: Room) -> Result<(), SendError<Letter>> {
        let Some(shared) = self.shared.upgrade() else {
            return Err(SendError::new(SendReason::Shutdown, letter));
        };
        let (handle, generation) = match shared.resolve(to) {
            Destination::Exact { handle, generation, node } if node == shared.instance => {
                (handle, Some(generation))
            }
            Destination::Exact { .. } => return Err(SendError::new(SendReason::Unknown, letter)),
            Destination::Handle(handle) => (handle, None),
            Destination::Global(name) => return shared.post_to_name(name, letter),
        };
        if let Some(envelope) = letter.envelope_mut() {
            envelope.dest = handle;
        }
        if handle.is_remote(shared.harbor) {
            return shared.post_away(handle, letter, room);
        }
        let posted = {
            let mut way = self.way.lock();
            let Way { participant, pool } = &mut *way;
            participant.online();
            let posted = post_here(participant, pool, (handle, generation), letter, room);
            participant.offline();
            posted
        };
        let token = posted?;
        shared.schedule(token);
        Ok(())
    }

    /// Sends an answer, wherever its receiver is.
    pub(crate) fn deliver(&self, answer: Envelope) {
        // An answer that nobody can take ends here: its receiver is gone or its own deadline ends the call.
        let to = Destination::Handle(answer.dest);
        let sent = self.route(to, Letter::Envelope(answer), Room::Kept);
        if let Some(error) = sent.err().as_ref().and_then(substitute) {
            let _ = self.route(to, Letter::Envelope(error), Room::Kept);
        }
    }
}

impl Door {
    /// Ends every service, ahead of its queued messages; who waits gets the reason.
    pub(crate) fn kill_all(&self, reason: CallError) {
        let Some(shared) = self.shared.upgrade() else { return };
        for local in shared.directory.locals() {
            let mut way = self.way.lock();
            way.participant.online();
            let mailbox = way.participant.find(local);
            let token =
                mailbox.and_then(|mailbox| mailbox.push_control(Letter::Control(Control::Kill(reason))));
            way.participant.offline();
            drop(way);
            shared.schedule(token);
        }
    }
}

impl Shared {
    /// Queues a service that a thread outside has given work, and wakes a worker for it.
    fn schedule(&self, token: Option<Turn>) {
        if let Some(token) = token {
            self.global.push(token);
            self.crew.ring();
        } else if self.directory.has_retired() {
            // The message may have gone to a service that just ended; whoever frees it answers.
            self.crew.ring();
        }
    }
}

/// The I/O thread's way in: many messages between two waits.
pub struct Inlet {
    shared: Arc<Shared>,
    way: Way,
    /// Pools of the node's threads, the door's and this one's.
    pools: usize,
    pushed: bool,
}

impl Inlet {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let pools = shared.counters.len() + 1;
        Self { shared: Arc::clone(shared), way: Way::new(shared), pools, pushed: false }
    }

    /// Begins a stretch of deliveries; before it nothing may be delivered.
    pub fn online(&mut self) {
        self.way.participant.online();
    }

    /// Ends a stretch of deliveries: wakes workers for what was delivered. Call it before each wait.
    pub fn offline(&mut self) {
        self.way.participant.offline();
        if std::mem::take(&mut self.pushed) || self.shared.directory.has_retired() {
            self.shared.crew.ring();
        }
    }

    /// Delivers a message that came over a link, or an error of the harbor, to a service of this node.
    ///
    /// # Errors
    /// Gives it back with `Unknown` (no such service) or `Full`.
    pub fn deliver(&mut self, envelope: Envelope) -> Result<(), SendError<Envelope>> {
        // What the harbor of this node says ends a call that was counted; what a peer sends keeps to the bounds.
        let room = match envelope.body {
            Body::Failure(_) | Body::Typed(_) => Room::Kept,
            Body::Bytes(_) | Body::Empty => Room::Bounded,
        };
        self.put(envelope, room)
    }

    /// Delivers the answer to a call that was counted when it was made; it takes that place.
    ///
    /// # Errors
    /// Gives it back with `Unknown`; or with `Full` if the node has no room for its bytes, and its caller got an ERROR.
    pub fn complete(&mut self, envelope: Envelope) -> Result<(), SendError<Envelope>> {
        self.put(envelope, Room::Kept).inspect_err(|refused| {
            if refused.reason == SendReason::Full {
                let Envelope { source, dest, session, .. } = refused.message;
                // Without bytes it finds room.
                let _ = self.put(Envelope::error(source, dest, session, CallError::Full), Room::Kept);
            }
        })
    }

    /// Bytes that messages in mailboxes take, with their nodes.
    pub fn memory(&self) -> usize {
        usize::try_from(self.shared.depot.memory(self.pools)).unwrap_or(usize::MAX)
    }

    fn put(&mut self, envelope: Envelope, room: Room) -> Result<(), SendError<Envelope>> {
        let handle = envelope.dest;
        let Way { participant, pool } = &mut self.way;
        match post_here(participant, pool, (handle, None), Letter::Envelope(envelope), room) {
            Ok(token) => {
                if let Some(token) = token {
                    self.shared.global.push(token);
                    self.pushed = true;
                }
                Ok(())
            }
            Err(refused) => {
                let envelope =
                    refused.message.into_envelope().expect("a refused letter comes back as it went");
                Err(SendError::new(refused.reason, envelope))
            }
        }
    }

    /// Delivers the harbor's answer; the service that asked may be gone.
    pub fn answer(&mut self, waiter: Waiter, answer: HarborAnswer) {
        let _ = self.deliver(answer_envelope(waiter, answer));
    }

    /// The harbor learned who has a name: services send to it directly from now on. Whether that is no service of this node
    /// that has ended.
    pub fn publish(&self, name: Name, handle: Handle) -> bool {
        let is_ours = !handle.is_remote(self.shared.harbor) && handle.local() != SERVICE_ID_VACANT;
        self.shared.names.publish(name, handle, is_ours);
        !is_ours || self.way.participant.find(handle.local()).is_some()
    }

    /// The harbor forgot a name.
    pub fn retract(&self, name: Name) {
        self.shared.names.retract(name);
    }

    /// Gives back what the I/O thread could not take any more, at its end.
    pub fn refuse(&mut self, outgoing: Outgoing) {
        let refusal = match outgoing {
            Outgoing::Send(envelope) | Outgoing::Ask(HarborRequest::Send { envelope, .. }) => {
                envelope.refusal(CallError::Shutdown)
            }
            Outgoing::Ask(
                HarborRequest::Register { waiter, .. }
                | HarborRequest::Query { waiter, .. }
                | HarborRequest::Watch { waiter, .. }
                | HarborRequest::Link { waiter, .. }
                | HarborRequest::Connect { waiter, .. }
                | HarborRequest::LinkMaster { waiter }
                | HarborRequest::Status { waiter },
            ) => Some(Envelope::error(Handle::NONE, waiter.source, waiter.session, CallError::Shutdown)),
            Outgoing::Ask(
                HarborRequest::Unregister { .. }
                | HarborRequest::Ended { .. }
                | HarborRequest::Forget { .. }
                | HarborRequest::Leave,
            ) => None,
        };
        // A caller on another node learns it from its own: the links are closed.
        if let Some(refusal) = refusal.filter(|refusal| !refusal.dest.is_remote(self.shared.harbor)) {
            let _ = self.deliver(refusal);
        }
    }
}
