//! What the services do: register, claim, ask, call, send, answer, give up, end.

use super::case::{Act, Place, Way};
use super::draw::OVERSIZE;
use super::node::{
    Host, MANAGER, Question, REAL_CALLER, REAL_ECHO, Returned, message, name, name_of, number_of, payload,
    real_name, shared_name,
};
use super::oracle::{Outcome, Sent, Uid, Whom};
use super::real::{self, Message};
use super::world::{Due, World};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::message::{
    Body, CallError, Envelope, Handle, HarborAnswer, HarborId, HarborRequest, Kind, Name, Session, Waiter,
};
use std::time::Duration;

/// A node that never comes.
pub(super) const NOWHERE: HarborId = HarborId::new(255);

/// One message that is about to be sent.
#[derive(Clone, Copy)]
pub(super) struct Letter {
    pub(super) way: Way,
    pub(super) to: Place,
    pub(super) is_call: bool,
    pub(super) is_hasty: bool,
    pub(super) is_probe: bool,
    pub(super) bytes: u32,
}

impl World<'_> {
    pub(super) fn act(&mut self, step: usize) {
        match self.case.steps[step].act {
            Act::Fault(fault) => self.fault(fault),
            _ if self.healing => {}
            Act::Speak { from, to, way, is_call, is_hasty, count, bytes } => {
                let letter = Letter { way, to, is_call, is_hasty, is_probe: false, bytes };
                for _ in 0..count {
                    self.speak(from, letter);
                }
                if count > 50 {
                    self.look_at(from.node.into());
                }
            }
            Act::Claim { who, name } => self.claim(who, name),
            Act::Ask { who, about, time } => self.ask(who, about, time),
            Act::Watch { who, node, is_loss } => self.watch(who, node, is_loss),
            Act::Kill { who } => self.kill(who),
        }
    }

    /// Whoever lives in a slot, and the slot's last one if its node is dead.
    fn uid_at(&self, place: Place) -> Option<Uid> {
        let slots = &self.nodes.get(usize::from(place.node))?.slots;
        slots.get(usize::from(place.slot) % slots.len().max(1)).copied()
    }

    // Names.

    pub(super) fn register(&mut self, uid: Uid) {
        match self.nodes[uid.node].host {
            Host::Ours(_) if uid.local == MANAGER => {
                for text in ["DATACENTER", "SERVICE"] {
                    self.request_name(uid, name(text), Question::OwnName);
                }
            }
            Host::Ours(_) => self.request_name(uid, name_of(uid), Question::OwnName),
            Host::Real(ref real) if real.is_ready() => {
                self.real_input(uid.node, uid.life, |real, _| real.register(&real_name(uid), REAL_ECHO));
            }
            Host::Real(_) => self.after(self.case.plan.delay_max * 10, Due::Register { uid }),
            Host::Crowd(_) | Host::Nothing => {}
        }
    }

    fn claim(&mut self, who: Place, number: u8) {
        let Some(uid) = self.uid_at(who) else { return };
        self.oracle.claims(number, uid);
        self.request_name(uid, shared_name(number), Question::SharedName);
    }

    fn request_name(&mut self, uid: Uid, name: Name, question: Question) {
        let Some(waiter) = self.question(uid, question) else { return };
        let request = HarborRequest::Register { name, handle: waiter.source, waiter };
        self.input(uid.node, uid.life, |harbor, now| harbor.handle_request(now, request));
    }

    fn ask(&mut self, who: Place, about: Place, time: u64) {
        let (Some(uid), Some(about)) = (self.uid_at(who), self.uid_at(about)) else { return };
        let until = self.clock(uid.node) + Duration::from_nanos(time);
        let Some(waiter) = self.question(uid, Question::Owner { deadline: until.nanos() }) else { return };
        let request = HarborRequest::Query { name: self.name_at(about), waiter, deadline: until };
        self.input(uid.node, uid.life, |harbor, now| harbor.handle_request(now, request));
    }

    fn watch(&mut self, who: Place, node: u8, is_loss: bool) {
        let Some(uid) = self.uid_at(who) else { return };
        let Some(waiter) = self.question(uid, Question::Link) else { return };
        let harbor = self.nodes[usize::from(node) % self.nodes.len()].id;
        let request = match (is_loss, node % 4) {
            (true, 0) => HarborRequest::LinkMaster { waiter },
            (true, _) => HarborRequest::Link { harbor, waiter },
            (false, _) => HarborRequest::Connect { harbor, waiter },
        };
        self.input(uid.node, uid.life, |harbor, now| harbor.handle_request(now, request));
    }

    /// A living service of ours is about to ask something.
    fn question(&mut self, uid: Uid, question: Question) -> Option<Waiter> {
        let node = &mut self.nodes[uid.node];
        let source = node.handle_of(uid.local);
        let service = node.ours(uid.life)?.service(uid.local)?;
        let session = service.next_session();
        service.asked.insert(session, question);
        Some(Waiter { source, session })
    }

    /// The name of a service.
    fn name_at(&self, uid: Uid) -> Name {
        match self.case.plan.is_real(uid.node) {
            true => name(&real_name(uid)),
            false => name_of(uid),
        }
    }

    pub(super) fn answered(&mut self, node: usize, waiter: Waiter, answer: &HarborAnswer) {
        if let HarborAnswer::Status(status) = answer {
            return self.check_status(node, status);
        }
        let now = self.clock(node).nanos();
        let (is_sick, loose) = (self.is_sick(node), self.case.plan.loose_names == 1);
        let leaving = self.leaving || matches!(&self.nodes[node].host, Host::Ours(ours) if ours.leaves);
        let life = self.nodes[node].life;
        let Some(ours) = self.nodes[node].ours(life) else { return };
        let Some(service) = ours.service(waiter.source.local()) else { return };
        let question = service.asked.remove(&waiter.session);
        let Some(question) = question else { panic!("I3: {waiter:?} got {answer:?}, and asked nothing") };
        let is_right = match (question, answer) {
            (Question::OwnName, HarborAnswer::Registered) => true,
            (Question::OwnName, HarborAnswer::NameTaken(_)) => loose,
            (Question::SharedName, HarborAnswer::Registered | HarborAnswer::NameTaken(_)) => true,
            (Question::Owner { .. }, HarborAnswer::Found(_)) => true,
            (Question::Owner { deadline }, HarborAnswer::NotFound) => {
                leaving || is_sick || (deadline <= now && now <= deadline + 1_000)
            }
            (Question::Link, HarborAnswer::Up | HarborAnswer::Down) => true,
            _ => false,
        };
        assert!(is_right, "I3: {waiter:?} asked {question:?} and got {answer:?}");
    }

    // Messages.

    pub(super) fn speak(&mut self, from: Place, letter: Letter) {
        let Some(mut uid) = self.uid_at(from) else { return };
        match &mut self.nodes[uid.node].host {
            Host::Ours(ours) if ours.services.iter().any(|one| one.uid == uid && one.alive) => {
                self.speak_ours(uid, letter);
            }
            Host::Real(real) if real.is_ready() => {
                uid.local = REAL_CALLER;
                self.speak_real(uid, letter);
            }
            Host::Ours(_) | Host::Real(_) | Host::Crowd(_) | Host::Nothing => {}
        }
    }

    fn whom(&self, letter: Letter) -> Whom {
        match letter.way {
            Way::Name | Way::Known if self.case.plan.loose_names == 1 => Whom::Anyone,
            Way::Name | Way::Handle | Way::Known => {
                self.uid_at(letter.to).map_or(Whom::Nobody, Whom::Service)
            }
            Way::Shared => Whom::Shared(letter.to.slot),
            Way::Nobody | Way::Nowhere => Whom::Nobody,
        }
    }

    fn speak_ours(&mut self, uid: Uid, letter: Letter) {
        let whom = self.whom(letter);
        let source = self.nodes[uid.node].handle_of(uid.local);
        let (dest, name) = self.way(uid, letter);
        let link = self.oracle.link(uid.node, dest.harbor()).filter(|_| name.is_none());
        let by_name = name.and_then(|name| self.known(uid.node, name));
        let link = link.or_else(|| by_name.and_then(|owner| self.oracle.link(uid.node, owner.harbor())));
        let (is_probe, is_nameless) = (letter.is_probe, letter.way == Way::Nobody);
        let sent = Sent { link, is_probe, is_nameless, ..Sent::new(uid, whom, letter.is_call, self.now) };
        let number = self.oracle.sent(sent);
        let session = self.open_call(uid, number, letter, whom);
        let is_far = match whom {
            Whom::Service(to) => to.node != uid.node,
            Whom::Nobody => true,
            Whom::Shared(_) | Whom::Anyone => false,
        };
        let bytes = match letter.bytes {
            OVERSIZE if is_far => vec![0; PAYLOAD_BYTES_MAX + 1],
            OVERSIZE => payload(number, 0),
            bytes => payload(number, bytes as usize),
        };
        let envelope = message((source, dest), session, Kind::LUA, bytes);
        self.input(uid.node, uid.life, |harbor, now| match name {
            None => harbor.handle_send(now, envelope),
            Some(name) => harbor.handle_request(now, HarborRequest::Send { name, envelope }),
        });
    }

    /// A handle, or a name that its node does not know yet.
    fn way(&self, uid: Uid, letter: Letter) -> (Handle, Option<Name>) {
        let target = self.uid_at(letter.to);
        let way = match target {
            Some(to) if !letter.is_probe => usual_way(uid, to, letter.way),
            Some(_) | None => letter.way,
        };
        let name = match (way, target) {
            (Way::Shared, _) => shared_name(letter.to.slot),
            (Way::Nobody, _) | (_, None) => name("NOBODY"),
            (Way::Name | Way::Handle | Way::Known | Way::Nowhere, Some(to)) => self.name_at(to),
        };
        match (way, target) {
            (Way::Nowhere, _) => (Handle::new(NOWHERE, 8), None),
            (Way::Handle, Some(to)) => (self.nodes[to.node].handle_of(to.local), None),
            (Way::Known, _) => match self.known(uid.node, name) {
                Some(owner) => (owner, None),
                None => (Handle::NONE, Some(name)),
            },
            (Way::Name | Way::Handle | Way::Shared | Way::Nobody, _) => (Handle::NONE, Some(name)),
        }
    }

    fn known(&self, node: usize, name: Name) -> Option<Handle> {
        match &self.nodes[node].host {
            Host::Ours(ours) => ours.names.get(&name).copied(),
            Host::Real(_) | Host::Crowd(_) | Host::Nothing => None,
        }
    }

    fn open_call(&mut self, uid: Uid, number: u64, letter: Letter, whom: Whom) -> Session {
        if !letter.is_call {
            return Session::NONE;
        }
        // A dead real node tells nobody: whoever calls one has a deadline.
        let of_real = matches!(whom, Whom::Service(to) if self.case.plan.is_real(to.node)) && !self.healthy;
        let Some(service) = self.nodes[uid.node].ours(uid.life).and_then(|ours| ours.service(uid.local))
        else {
            return Session::NONE;
        };
        let session = service.next_session();
        service.open.insert(session, number);
        if letter.is_hasty || of_real {
            let patience = if letter.is_hasty { 8 } else { 400 };
            self.after(self.case.plan.delay_max * patience, Due::GiveUp { uid, session });
        }
        session
    }

    fn speak_real(&mut self, uid: Uid, letter: Letter) {
        let whom = self.whom(letter);
        let Whom::Service(to) = whom else { return };
        let sent = Sent { by_real: true, ..Sent::new(uid, whom, letter.is_call, self.now) };
        let (dest, name) = (self.nodes[to.node].handle_of(to.local), self.name_at(to).to_string());
        let number = self.oracle.sent(sent);
        let bytes = payload(number, letter.bytes.min(10_000) as usize);
        let by_name = letter.way != Way::Handle && letter.is_call;
        let mut session = 0;
        self.real_input(uid.node, uid.life, |real, _| {
            session = match (by_name, letter.is_call) {
                (true, _) => real.call_name(&name, &bytes),
                (false, true) => real.call(dest.bits(), &bytes),
                (false, false) => {
                    real.send(Message::call(real.handle(REAL_CALLER), dest.bits(), 0, &bytes));
                    0
                }
            };
        });
        if letter.is_call {
            self.nodes[uid.node].real_calls.insert(session, (number, by_name));
            self.hear_real(uid.node);
        }
    }

    /// What a played real node got, and what its calls came to.
    pub(super) fn hear_real(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let Host::Real(real) = &mut self.nodes[node].host else { return };
        let (received, outcomes) = (std::mem::take(&mut real.received), std::mem::take(&mut real.outcomes));
        let is_garbled = self.over.is_some_and(|tcp| self.marks[tcp as usize].garbled);
        let at = Uid { node, life, local: REAL_ECHO };
        for message in
            received.iter().filter(|message| !is_garbled && message.dest & 0x00ff_ffff == REAL_ECHO)
        {
            let is_request = !matches!(Kind(message.kind), Kind::RESPONSE | Kind::ERROR);
            if !is_request && self.has_garbage() {
                // Somebody answers a message whose source was spoilt.
                continue;
            }
            let Some(number) = number_of(&message.payload) else {
                panic!("I2: {at:?} got bytes that nobody sent: {message:?}")
            };
            self.oracle.delivered(at, number, self.over);
        }
        for (session, outcome) in outcomes {
            let Some((number, by_name)) = self.nodes[node].real_calls.remove(&session) else {
                self.keep_outcome(node, session, outcome);
                continue;
            };
            match outcome {
                _ if is_garbled => self.oracle.ended(number, Outcome::Garbled),
                real::Outcome::Reply(bytes) => {
                    assert_eq!(number_of(&bytes), Some(number), "I3: the answer belongs to another call");
                    self.oracle.ended(number, Outcome::Answered);
                }
                // A message that waited for a name and then for a link has lost half of its destination.
                real::Outcome::Error(error) => {
                    let may_fail = by_name || !self.healthy || self.oracle.of(number).may_be_refused;
                    assert!(may_fail, "I6: a real node's call {number}: {error}");
                    self.oracle.ended(number, Outcome::Refused);
                }
            }
        }
    }

    /// Whether something was spoilt on its way, in this run.
    pub(super) fn has_garbage(&self) -> bool {
        self.marks.iter().any(|mark| mark.garbled)
    }

    /// The call was made a moment ago, its number is not known yet.
    fn keep_outcome(&mut self, node: usize, session: u32, outcome: real::Outcome) {
        if let Host::Real(real) = &mut self.nodes[node].host {
            real.outcomes.insert(session, outcome);
        }
    }

    pub(super) fn give_up(&mut self, uid: Uid, session: Session) {
        let source = self.nodes[uid.node].handle_of(uid.local);
        let Some(ours) = self.nodes[uid.node].ours(uid.life) else { return };
        let Some(service) = ours.service(uid.local) else { return };
        if let Some(number) = service.open.remove(&session) {
            service.given_up.insert(session);
            self.oracle.ended(number, Outcome::GaveUp);
            let request = HarborRequest::Forget { waiter: Waiter { source, session } };
            self.input(uid.node, uid.life, |harbor, now| harbor.handle_request(now, request));
        }
    }

    /// A service ends: messages to it find nobody from now on. Another one takes its slot.
    fn kill(&mut self, who: Place) {
        let Some(uid) = self.uid_at(who) else { return };
        let delay = self.case.plan.delay_max;
        let node = &mut self.nodes[uid.node];
        let life = node.life;
        let Some(ours) = node.ours(life) else { return };
        let Some(service) = ours.service(uid.local) else { return };
        service.alive = false;
        let open = std::mem::take(&mut service.open);
        let next = ours.spawn(uid.node, life);
        if let Some(slot) = node.slots.iter_mut().find(|slot| **slot == uid) {
            *slot = next;
        }
        for number in open.into_values() {
            self.oracle.ended(number, Outcome::GaveUp);
        }
        self.after(delay, Due::Register { uid: next });
    }

    /// The machine hands a message to a service, which may have no room for it.
    pub(super) fn deliver(&mut self, node: usize, envelope: Envelope, may_be_full: bool) {
        let own = self.nodes[node].id;
        let life = self.nodes[node].life;
        let is_own_word = matches!(envelope.body, Body::Failure(_));
        // What waited for a name inside the node, until garbage told it, is none itself.
        let is_request = envelope.kind != Kind::RESPONSE && !envelope.source.is_remote(own);
        let number = envelope.body.bytes().and_then(number_of).filter(|_| is_request);
        let is_local = number.is_some_and(|number| self.oracle.is_from(number, node));
        if !is_local && self.over.is_some_and(|tcp| self.marks[tcp as usize].garbled) {
            return self.garbled(node, life, &envelope);
        }
        if envelope.source.is_remote(own) && !is_own_word {
            self.oracle.heard(node, envelope.source.harbor());
        }
        assert_eq!(envelope.dest.harbor(), own, "I7: node {node} delivers {envelope:?}");
        // Between services of one node nothing goes through the machine, and an answer has its place.
        let is_bounded = may_be_full && !is_own_word && envelope.source.is_remote(own);
        let is_full = is_bounded && self.nodes[node].condition.full > self.now;
        let Some(ours) = self.nodes[node].ours(life) else { return };
        let uid = ours.service(envelope.dest.local()).map(|service| service.uid);
        let returned = match uid {
            None => Some(Returned::NoService),
            Some(_) => is_full.then_some(Returned::NoRoom),
        };
        if let Some(returned) = returned {
            let number = envelope.body.bytes().and_then(number_of);
            ours.returned.push_back((envelope, returned));
            return number.map_or((), |number| self.oracle.may_be_refused(number));
        }
        match (uid, envelope.kind) {
            (None, _) => {}
            (Some(uid), Kind::RESPONSE | Kind::ERROR) => self.ended(uid, &envelope),
            (Some(uid), _) => self.requested(uid, &envelope),
        }
    }

    /// It came over a connection with garbage: nobody looks at it, but a call that it ends has ended.
    fn garbled(&mut self, node: usize, life: u32, envelope: &Envelope) {
        let Some(ours) = self.nodes[node].ours(life) else { return };
        let is_answer = matches!(envelope.kind, Kind::RESPONSE | Kind::ERROR);
        let Some(service) = ours.service(envelope.dest.local()).filter(|_| is_answer) else { return };
        // A flipped bit may have made it the answer to another call: the right one may come yet.
        service.given_up.insert(envelope.session);
        if let Some(number) = service.open.remove(&envelope.session) {
            self.oracle.ended(number, Outcome::Garbled);
        }
    }

    /// An answer or an error: one of the calls of this service is over.
    fn ended(&mut self, uid: Uid, envelope: &Envelope) {
        let Some(service) = self.nodes[uid.node].ours(uid.life).and_then(|ours| ours.service(uid.local))
        else {
            return;
        };
        let Some(number) = service.open.remove(&envelope.session) else {
            // Who gave up is not interested any more; session 0 says that a service is dead.
            let is_known = service.given_up.contains(&envelope.session) || !envelope.session.wants_answer();
            assert!(
                is_known || self.has_garbage(),
                "I3: {uid:?} got an answer, and no call waits for it: {envelope:?}"
            );
            return;
        };
        let outcome = match (&envelope.body, envelope.kind) {
            (Body::Failure(CallError::NoService | CallError::Dropped), _) => Outcome::Refused,
            (Body::Failure(reason), _) => Outcome::Failed(*reason),
            (Body::Empty, Kind::ERROR) => Outcome::Refused,
            (Body::Empty | Body::Bytes(_) | Body::Typed(_), _) => {
                let theirs = envelope.body.bytes().and_then(number_of);
                assert_eq!(theirs, Some(number), "I3: the answer belongs to another call");
                Outcome::Answered
            }
        };
        if outcome == Outcome::Refused {
            self.check_refusal(number, envelope.source.local());
        }
        if outcome == Outcome::Answered {
            self.check_delay(self.oracle.of(number), 3);
        }
        self.oracle.ended(number, outcome);
    }

    /// A request: it is answered at once, later, or with an error.
    fn requested(&mut self, uid: Uid, envelope: &Envelope) {
        let (to, session) = (envelope.source, envelope.session);
        if uid.local == MANAGER {
            let answer =
                message((self.nodes[uid.node].handle_of(MANAGER), to), session, Kind::RESPONSE, Vec::new());
            return self.input(uid.node, uid.life, |harbor, now| harbor.handle_send(now, answer));
        }
        let Some(number) = envelope.body.bytes().and_then(number_of) else {
            panic!("I2: {uid:?} got bytes that nobody sent: {envelope:?}")
        };
        let sent = self.oracle.delivered(uid, number, self.over);
        self.check_delay(sent, 1);
        if session.wants_answer() {
            let longest = self.case.plan.delay_max * 4;
            let delay = match number % 2 {
                0 => 1,
                _ => self.rng([3, number, 0]).in_range(1..longest + 2),
            };
            self.after(delay, Due::Reply { uid, to, session, number });
        }
    }

    pub(super) fn reply(&mut self, uid: Uid, to: Handle, session: Session, number: u64) {
        let mut rng = self.rng([4, number, 0]);
        let (is_refused, padding) = (rng.chance(5), rng.in_range(0..200) as usize);
        let is_refused = is_refused && !self.oracle.of(number).is_probe && !self.healthy;
        let source = self.nodes[uid.node].handle_of(uid.local);
        let Some(ours) = self.nodes[uid.node].ours(uid.life) else { return };
        // The callee may have ended with the request unanswered: its runtime says so.
        let is_dead = ours.service(uid.local).is_none();
        if is_refused || is_dead {
            self.oracle.may_be_refused(number);
        }
        let envelope = if is_refused || is_dead {
            Envelope::error(source, to, session, CallError::Dropped)
        } else {
            message((source, to), session, Kind::RESPONSE, payload(number, padding))
        };
        let failed = self.failed_to(uid, to);
        self.input(uid.node, uid.life, |harbor, now| harbor.handle_send(now, envelope));
        if self.failed_to(uid, to) > failed {
            // The machine had no room for the answer: it says ERROR in the name of the service.
            self.oracle.may_be_refused(number);
        }
    }

    /// Messages of this service's node to another that failed.
    fn failed_to(&mut self, uid: Uid, to: Handle) -> u64 {
        self.nodes[uid.node].ours(uid.life).map_or(0, |ours| ours.harbor.account(to.harbor()).failed_total())
    }
}

/// Some callers never use the names of some callees. The others use handles only once they know the name: a message that waits for a
/// name is overtaken by one to a handle that somebody else told.
fn usual_way(from: Uid, to: Uid, way: Way) -> Way {
    let knows_handle = (from.local + to.local).is_multiple_of(2);
    match way {
        Way::Name | Way::Known | Way::Handle if knows_handle => Way::Handle,
        Way::Handle => Way::Known,
        Way::Name | Way::Known | Way::Shared | Way::Nobody | Way::Nowhere => way,
    }
}
