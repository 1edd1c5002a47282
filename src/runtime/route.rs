//! Where a message goes: to a mailbox of this node, into the lane of another, or to the harbor by name.

use super::address::Destination;
use super::calls::Callee;
use super::cell::{Cell, Letter, Turn};
use super::shared::{Outgoing, Shared};
use super::worker::Worker;
use crate::limits;
use crate::message::{
    Body, CallError, Envelope, Handle, HarborAnswer, HarborRequest, Kind, Name, NameEntry, SendError,
    SendReason, Session, Status, Waiter,
};
use crate::metrics::Count;
use crate::queue::{Parcel, Participant, Pool};

impl Worker {
    /// Sends a message from here.
    ///
    /// # Errors
    /// Gives it back with the reason.
    pub(crate) fn post(&mut self, to: Destination, letter: Letter) -> Result<(), SendError<Letter>> {
        self.route(to, letter, Room::Bounded)
    }

    fn route(&mut self, to: Destination, mut letter: Letter, room: Room) -> Result<(), SendError<Letter>> {
        let (handle, generation) = match self.shared.resolve(to) {
            Destination::Exact { handle, generation, node } if node == self.shared.instance => {
                (handle, Some(generation))
            }
            Destination::Exact { .. } => return Err(SendError::new(SendReason::Unknown, letter)),
            Destination::Handle(handle) => (handle, None),
            Destination::Global(name) => return self.shared.post_to_name(name, letter),
        };
        if let Some(envelope) = letter.envelope_mut() {
            envelope.dest = handle;
        }
        if handle.is_remote(self.shared.harbor) {
            self.sent_away = true;
            return self.shared.post_away(handle, letter, room);
        }
        self.counters.add(Count::Sent, 1);
        match post_here(&self.participant, &mut self.pool, (handle, generation), letter, room) {
            Ok(Some(token)) => {
                self.ready(token);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(refused) => {
                self.counters.add(Count::Refused, 1);
                Err(refused)
            }
        }
    }

    /// Sends an answer; one that nobody can take is counted. Instead of one that cannot leave the caller gets the reason.
    pub(crate) fn deliver(&mut self, answer: Envelope) {
        let to = Destination::Handle(answer.dest);
        let sent = self.route(to, Letter::Envelope(answer), Room::Kept);
        let sent = sent.or_else(|refused| match substitute(&refused) {
            Some(error) => self.route(to, Letter::Envelope(error), Room::Kept),
            None => Err(refused),
        });
        if sent.is_err() {
            self.counters.add(Count::Unanswered, 1);
        }
    }

    /// Hands a request to the harbor; a node that is alone answers by itself.
    pub(crate) fn ask(&mut self, request: HarborRequest) -> Result<(), CallError> {
        if self.shared.is_linked() {
            let sent = self.shared.send_up(0, Outgoing::Ask(request), Room::Bounded);
            return sent.map_err(|refused| refused.reason.into());
        }
        match self.shared.answer_alone(request) {
            Ok((waiter, answer)) => {
                self.deliver(answer_envelope(waiter, answer));
                Ok(())
            }
            Err(reason) => Err(reason),
        }
    }
}

/// The answer of the harbor as a message.
pub(crate) fn answer_envelope(waiter: Waiter, answer: HarborAnswer) -> Envelope {
    Envelope {
        source: Handle::NONE,
        dest: waiter.source,
        session: waiter.session,
        kind: Kind::RESPONSE,
        body: Body::Typed(Parcel::new(answer)),
    }
}

/// Where a message finds room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Within the bounds of the mailbox and of the node.
    Bounded,
    /// Past them: it is an answer, and its caller waits. It takes the place of the request that it ends. Only its bytes have
    /// a bound; who finds none left gives its caller an ERROR, which has no bytes.
    Kept,
}

/// Puts a message into the mailbox of a service of this node; a token comes back if the caller must schedule it.
pub(crate) fn post_here(
    participant: &Participant<Cell, Letter>,
    pool: &mut Pool<Letter>,
    (handle, generation): (Handle, Option<u32>),
    letter: Letter,
    room: Room,
) -> Result<Option<Turn>, SendError<Letter>> {
    let found = participant.find(handle.local());
    let found =
        found.filter(|mailbox| generation.is_none_or(|generation| mailbox.generation() == generation));
    let Some(mailbox) = found else { return Err(SendError::new(SendReason::Unknown, letter)) };
    let heap = letter.heap_len();
    let pushed = match room {
        Room::Kept => mailbox.push_answer(pool, letter, heap),
        Room::Bounded => mailbox.push(pool, letter, heap),
    };
    pushed.map_err(|refused| SendError::new(SendReason::Full, refused.into_message()))
}

impl Shared {
    /// Whether any queue that a sleeping worker must not miss has something.
    pub(super) fn has_work(&self) -> bool {
        !self.global.is_empty() || self.stealers.iter().any(|stealer| !stealer.is_empty())
    }

    /// Tells the harbor that nobody waits for the answer to this call any more. There is room for that as there is for an
    /// answer: the call had its place, and without a word its entry would stay as long as the link.
    ///
    /// A callee of this node may have passed the request on to another, so the harbor hears of the ends of those calls too,
    /// in the lane of this node, where they are in nobody's way.
    pub(super) fn forget(&self, source: Handle, session: Session, callee: Callee) {
        let lane = if callee.is_away(self.harbor) { 0 } else { self.harbor.index() };
        let waiter = Waiter { source, session };
        let _ = self.send_up(lane, Outgoing::Ask(HarborRequest::Forget { waiter }), Room::Kept);
    }

    /// A service ended, and its names with it.
    pub(super) fn forget_names(&self, handle: Handle) {
        if self.names.forget(handle) && self.is_linked() {
            let _ = self.send_up(0, Outgoing::Ask(HarborRequest::Ended { handle }), Room::Kept);
        }
    }

    /// A service gives up a global name.
    pub(super) fn unregister_global(&self, name: Name, handle: Handle) {
        if self.is_linked() {
            let request = HarborRequest::Unregister { name, handle };
            let _ = self.send_up(0, Outgoing::Ask(request), Room::Kept);
        } else {
            self.names.release(name, handle);
        }
    }

    /// A name that this node knows becomes the handle that has it.
    pub(super) fn resolve(&self, to: Destination) -> Destination {
        match to {
            Destination::Global(name) => self.names.global(name).map_or(to, Destination::Handle),
            Destination::Handle(_) | Destination::Exact { .. } => to,
        }
    }

    pub(crate) fn post_away(
        &self,
        handle: Handle,
        letter: Letter,
        room: Room,
    ) -> Result<(), SendError<Letter>> {
        if !self.is_linked() {
            return Err(SendError::new(SendReason::Unknown, letter));
        }
        let refusal = match &letter {
            Letter::Envelope(envelope) => refusal_to_leave(envelope),
            Letter::Request(..) | Letter::Control(_) => Some(SendReason::Denied),
        };
        let Letter::Envelope(envelope) = letter else {
            return Err(SendError::new(SendReason::Denied, letter));
        };
        if let Some(reason) = refusal {
            return Err(SendError::new(reason, Letter::Envelope(envelope)));
        }
        self.send_up(handle.harbor().index(), Outgoing::Send(envelope), room).map_err(as_letter)
    }

    pub(crate) fn post_to_name(&self, name: Name, letter: Letter) -> Result<(), SendError<Letter>> {
        if !self.is_linked() {
            return Err(SendError::new(SendReason::Unknown, letter));
        }
        let Letter::Envelope(envelope) = letter else {
            return Err(SendError::new(SendReason::Denied, letter));
        };
        if let Some(reason) = refusal_to_leave(&envelope) {
            return Err(SendError::new(reason, Letter::Envelope(envelope)));
        }
        let request = HarborRequest::Send { name, envelope };
        self.send_up(0, Outgoing::Ask(request), Room::Bounded).map_err(as_letter)
    }

    /// What a harbor would answer, on a node that has none.
    pub(crate) fn answer_alone(&self, request: HarborRequest) -> Result<(Waiter, HarborAnswer), CallError> {
        match request {
            HarborRequest::Register { name, handle, waiter } => Ok((
                waiter,
                match self.names.claim(name, handle) {
                    Ok(()) => HarborAnswer::Registered,
                    Err(owner) => HarborAnswer::NameTaken(owner),
                },
            )),
            HarborRequest::Query { name, waiter, .. } => {
                let answer = self.names.global(name).map_or(HarborAnswer::NotFound, HarborAnswer::Found);
                Ok((waiter, answer))
            }
            HarborRequest::Watch { name, known, waiter } => {
                let owner = self.names.global(name);
                let answer = owner.map_or(HarborAnswer::NotFound, HarborAnswer::Found);
                if owner.unwrap_or_default() == known { Err(CallError::Denied) } else { Ok((waiter, answer)) }
            }
            HarborRequest::Link { waiter, .. }
            | HarborRequest::Connect { waiter, .. }
            | HarborRequest::LinkMaster { waiter } => Ok((waiter, HarborAnswer::Down)),
            HarborRequest::Status { waiter } => {
                let names = self
                    .names
                    .globals()
                    .into_iter()
                    .map(|(name, handle)| NameEntry { name, handle })
                    .collect();
                let status = Status { names, names_complete: true, ..Status::default() };
                Ok((waiter, HarborAnswer::Status(Box::new(status))))
            }
            HarborRequest::Send { .. }
            | HarborRequest::Unregister { .. }
            | HarborRequest::Ended { .. }
            | HarborRequest::Forget { .. }
            | HarborRequest::Leave => Err(CallError::Denied),
        }
    }
}

fn as_letter(refused: SendError<Outgoing>) -> SendError<Letter> {
    match refused.message {
        Outgoing::Send(envelope) | Outgoing::Ask(HarborRequest::Send { envelope, .. }) => {
            SendError::new(refused.reason, Letter::Envelope(envelope))
        }
        Outgoing::Ask(_) => unreachable!("only messages are posted"),
    }
}

/// What the caller gets instead of an answer that may not leave the node as it is: too large, no bytes, or more than there is
/// room for in its lane.
pub(super) fn substitute(refused: &SendError<Letter>) -> Option<Envelope> {
    let reason = match refused.reason {
        SendReason::TooLarge | SendReason::Denied | SendReason::Full => CallError::from(refused.reason),
        SendReason::Unknown | SendReason::PeerDown | SendReason::Shutdown => return None,
    };
    let answer = refused.message.envelope().filter(|answer| answer.kind == Kind::RESPONSE)?;
    Some(Envelope::error(answer.source, answer.dest, answer.session, reason))
}

/// Why a message may not leave the node.
fn refusal_to_leave(envelope: &Envelope) -> Option<SendReason> {
    match &envelope.body {
        _ if !envelope.kind.may_leave() => Some(SendReason::Denied),
        Body::Typed(_) => Some(SendReason::Denied),
        Body::Bytes(payload) if payload.len() > limits::PAYLOAD_BYTES_MAX => Some(SendReason::TooLarge),
        Body::Bytes(_) | Body::Empty | Body::Failure(_) => None,
    }
}
