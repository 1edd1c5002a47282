//! A service's mailbox: many senders, one owner, and the token that says who the owner is.
//!
//! Intrusive MPSC queue after D. Vyukov (1024cores.net), with the idle bit in the head pointer as in Pony's
//! `messageq.c`, and a second bit for a control lane. A send is wait-free, one `swap`; the owner's pop has no
//! read-modify-write; going idle is one compare-and-swap; a control send is lock-free.
//!
//! ```text
//!   senders' line                              owner's line
//!  ┌───────────────────┬──────┬─────────┐     ┌───────────────┬──────┬─────────┐
//!  │ head │ KICK │ IDLE│ stub │ bounds  │     │ control       │ tail │ state S │
//!  └──┬────────────────┴──────┴─────────┘     └──┬────────────┴──┬───┴─────────┘
//!     ▼                                          ▼               ▼
//!   newest ◄── node ◄── … ◄── oldest ◄── stub ── (that is tail)  last node popped
//!                                              control: latest ──► … ──► first, a Treiber stack taken whole
//! ```
//!
//! **The word.** `head` is the newest node and two bits. `IDLE` without `KICK`: the mailbox is idle, nobody runs it, no
//! token exists. Every other state: exactly one [`Token`] exists, in a queue or in a worker's hand. A sender's swap
//! clears both bits, a control send sets `KICK`. Whoever's step turns "`IDLE` without `KICK`" into anything else made
//! the token and must schedule it: the old value of one atomic step says so, so it is one sender.
//!
//! **Going idle** is `head: tail → tail|IDLE`. It fails if a node was sent (head ≠ tail) or if `KICK` is set. It happens
//! in [`Token::idle`] only, after a look at the control list, and the bits are cleared there only, when it fails.
//!
//! **No control message is missed.** A control send pushes on its list, then sets `KICK`. If the idle step comes first in
//! head's order, the control send finds `IDLE` and gets the token. Otherwise the owner meets the `KICK`, and it cannot
//! lose it unseen. It may read `KICK` in the failing step: clearing it acquires (C2) the list push, so the look at the
//! list before the next try finds it. Or a send's swap took `KICK` away: that swap acquired (A1) the list push and its
//! link (A2) passed it on, and the owner has popped that node before head can equal tail.
//!
//! **The gap.** Between a sender's swap and its link later nodes hang in the air. The owner sees head ≠ tail and no
//! next: it waits a few rounds, then says [`Pop::Gap`], and the token goes back to the queue.
//!
//! **Who frees.** A popped node becomes the stub; the old stub goes to the owner's pool. A sender touches the former
//! head only until it links it, and the owner cannot pass it before: nodes need no reclamation scheme. Mailboxes do, see
//! `directory`. After `idle` succeeded the owner touches nothing: the next owner may run already.
//!
//! **Bounds** are optional: one more RMW of senders per message for a count, one more for bytes. The owner counts what
//! it popped with plain stores; senders read that only when their remembered copy of it is not enough.
//!
//! The control list shares the owner's line: control messages are rare, so the owner's look at it stays in its cache.

use super::bounds::{Bounds, Full, Ledger, PushError, count};
use super::node::{self, Link, Node};
use super::pool::Pool;
#[cfg(not(loom))]
use crate::limits::GAP_SPINS_MAX;
use crate::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use crate::sync::{CachePadded, UnsafeCell, spin_loop};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// A model needs one round to reach both ends of the wait.
#[cfg(loom)]
const GAP_SPINS_MAX: u32 = 1;

/// Nobody owns the mailbox; its next sender does, unless `KICK` is set.
const IDLE: usize = 1;
/// A control message was sent since the owner last failed to go idle.
const KICK: usize = 2;
const TAGS: usize = IDLE | KICK;

const _: () = assert!(align_of::<Link>() > TAGS);

#[inline]
fn tags(head: *mut Link) -> usize {
    head.addr() & TAGS
}

#[inline]
fn tagged(link: *mut Link, tags: usize) -> *mut Link {
    link.map_addr(|address| address | tags)
}

#[inline]
fn untagged(head: *mut Link) -> *mut Link {
    head.map_addr(|address| address & !TAGS)
}

/// What [`Token::pop`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Pop<M> {
    /// The oldest message.
    Message(M),
    /// Nothing is there: go idle.
    Empty,
    /// A sender stopped in the middle of its send: schedule the token again and run others first.
    Gap,
}

/// What [`Mailbox::push_chain`] did.
#[must_use = "a token must be scheduled"]
#[derive(Debug)]
pub struct ChainPushed<S, M> {
    /// How many messages were taken.
    pub count: usize,
    /// The token, if the mailbox was idle.
    pub token: Option<Token<S, M>>,
    /// The message that was refused; those after it are still in the iterator.
    pub refused: Option<PushError<M>>,
}

/// A mailbox with the state of its owner, as senders see it; see the module's text.
#[repr(C)]
pub struct Mailbox<S, M> {
    senders: CachePadded<Senders>,
    owner: CachePadded<Owner<S>>,
    messages: PhantomData<M>,
}

/// What senders read and write.
#[repr(C)]
struct Senders {
    /// The newest node and the tags. Written by every sender, and by the owner when it goes idle.
    head: AtomicPtr<Link>,
    /// The first stub; never used again once the first message is popped.
    stub: Link,
    local: u32,
    generation: u32,
    bounds: Bounds,
    messages: Ledger,
    bytes: Ledger,
}

/// What the owner reads and writes, and the control list.
#[repr(C)]
struct Owner<S> {
    /// The latest control message. Pushed by control senders, taken whole by the owner.
    control: AtomicPtr<Link>,
    /// The stub: the node of the last message popped.
    tail: UnsafeCell<*mut Link>,
    /// Written by the owner, read by senders: see [`Ledger`].
    popped_messages: AtomicU64,
    popped_bytes: AtomicU64,
    state: UnsafeCell<S>,
}

// SAFETY: senders share a mailbox by its atomics; tail and state are touched by the token's holder only. A push can
// make the token on any thread, so `S` crosses threads, and messages do.
unsafe impl<S: Send, M: Send> Sync for Mailbox<S, M> {}
// SAFETY: as above, what is inside may cross threads.
unsafe impl<S: Send, M: Send> Send for Mailbox<S, M> {}

impl<S, M> Mailbox<S, M> {
    /// A mailbox on the heap with its one token. Who frees it and when is the directory's business.
    pub(super) fn create(local: u32, generation: u32, bounds: Bounds, state: S) -> Token<S, M> {
        let senders = Senders {
            head: AtomicPtr::new(ptr::null_mut()),
            stub: Link::new(),
            local,
            generation,
            bounds,
            messages: Ledger::new(),
            bytes: Ledger::new(),
        };
        let owner = Owner {
            control: AtomicPtr::new(ptr::null_mut()),
            tail: UnsafeCell::new(ptr::null_mut()),
            popped_messages: AtomicU64::new(0),
            popped_bytes: AtomicU64::new(0),
            state: UnsafeCell::new(state),
        };
        let senders = CachePadded::new(senders);
        let mailbox = Box::new(Self { senders, owner: CachePadded::new(owner), messages: PhantomData });
        let token = Token { mailbox: NonNull::from(Box::leak(mailbox)), unshared: PhantomData };
        let stub = token.mailbox().stub();
        token.mailbox().senders.head.store(stub, Ordering::Relaxed);
        token.mailbox().owner.tail.with_mut(|tail| {
            // SAFETY: nobody else knows the mailbox yet.
            unsafe { *tail = stub }
        });
        token
    }

    fn stub(&self) -> *mut Link {
        ptr::from_ref(&self.senders.stub).cast_mut()
    }

    /// The id under which the directory knows it.
    pub fn local(&self) -> u32 {
        self.senders.local
    }

    /// Which user of that id it is: two mailboxes with the same id differ in it.
    pub fn generation(&self) -> u32 {
        self.senders.generation
    }

    /// Sends a message whose payload outside its node has `bytes` bytes. Some: the mailbox was idle, the caller must
    /// schedule it.
    ///
    /// # Errors
    /// Gives the message back if the mailbox or the node is full.
    #[inline]
    pub fn push(
        &self,
        pool: &mut Pool<M>,
        message: M,
        bytes: usize,
    ) -> Result<Option<Token<S, M>>, PushError<M>> {
        match self.take_node(pool, bytes) {
            Ok(node) => {
                // SAFETY: the node is empty and ours.
                unsafe { Node::fill(node, message, bytes) };
                Ok(self.publish(node, node))
            }
            Err(full) => Err(full.refuse(message)),
        }
    }

    /// As [`Mailbox::push`], past every bound, which it counts against: for answers, each of which ends a call that was
    /// counted when it was made.
    ///
    /// # Errors
    /// Gives a message with bytes back if the node holds twice as many as it may. One without always finds room.
    pub fn push_answer(
        &self,
        pool: &mut Pool<M>,
        message: M,
        bytes: usize,
    ) -> Result<Option<Token<S, M>>, PushError<M>> {
        if !pool.reserve_bytes_past(bytes) {
            return Err(Full::Node.refuse(message));
        }
        let Bounds { messages, bytes: bytes_max } = self.senders.bounds;
        if messages != 0 {
            self.senders.messages.add_past(1);
        }
        if bytes_max != 0 {
            self.senders.bytes.add_past(bytes as u64);
        }
        let node = pool.take_past();
        // SAFETY: the pool gave us this empty node.
        unsafe { Node::fill(node, message, bytes) };
        // SAFETY: the node is ours.
        unsafe { node::set_next(node, ptr::null_mut()) };
        Ok(self.publish(node, node))
    }

    /// Sends many messages, each with its bytes, in one step; nobody's messages come between them.
    pub fn push_chain(
        &self,
        pool: &mut Pool<M>,
        messages: &mut impl Iterator<Item = (M, usize)>,
    ) -> ChainPushed<S, M> {
        let mut done = ChainPushed { count: 0, token: None, refused: None };
        let (mut first, mut last) = (ptr::null_mut(), ptr::null_mut());
        for (message, bytes) in messages {
            let node = match self.take_node(pool, bytes) {
                Ok(node) => node,
                Err(full) => {
                    done.refused = Some(full.refuse(message));
                    break;
                }
            };
            // SAFETY: the node is empty and ours.
            unsafe { Node::fill(node, message, bytes) };
            if done.count == 0 {
                first = node;
            } else {
                // SAFETY: `last` is a node of this chain, which nobody else has seen.
                unsafe { node::set_next(last, node) };
            }
            last = node;
            done.count += 1;
        }
        if done.count > 0 {
            done.token = self.publish(first, last);
        }
        done
    }

    /// An empty node without a successor for a message with so many bytes, which is counted against every bound.
    #[inline]
    fn take_node(&self, pool: &mut Pool<M>, bytes: usize) -> Result<*mut Link, Full> {
        let Bounds { messages, bytes: bytes_max } = self.senders.bounds;
        if messages != 0 && !self.senders.messages.add(1, messages.into(), &self.owner.popped_messages) {
            return Err(Full::Mailbox);
        }
        if bytes_max != 0 && !self.senders.bytes.add(bytes as u64, bytes_max, &self.owner.popped_bytes) {
            self.uncount(0);
            return Err(Full::Mailbox);
        }
        if bytes != 0 && !pool.reserve_bytes(bytes) {
            self.uncount(bytes);
            return Err(Full::Node);
        }
        let Some(node) = pool.take() else {
            pool.release_bytes(bytes);
            self.uncount(bytes);
            return Err(Full::Node);
        };
        // SAFETY: the node is ours.
        unsafe { node::set_next(node, ptr::null_mut()) };
        Ok(node)
    }

    #[cold]
    fn uncount(&self, bytes: usize) {
        if self.senders.bounds.messages != 0 {
            self.senders.messages.remove(1);
        }
        if self.senders.bounds.bytes != 0 {
            self.senders.bytes.remove(bytes as u64);
        }
    }

    /// The send itself: `first..last` is a chain of filled nodes that is ours.
    #[inline]
    fn publish(&self, first: *mut Link, last: *mut Link) -> Option<Token<S, M>> {
        // [A1] AcqRel: publishes last's null link to the next sender and sees the former one's. Sees what the owner
        // that went idle did, for the token's next holder, and the control push of a KICK that is taken away.
        let head = self.senders.head.swap(last, Ordering::AcqRel);
        // SAFETY: the owner does not pass the former head before it has a successor, which only we set.
        let former = unsafe { &*untagged(head) };
        // [A2] Release: publishes the nodes, and all that our swap saw, to the owner's pop.
        former.next.store(first, Ordering::Release);
        (tags(head) == IDLE).then(|| self.token())
    }

    /// The caller's atomic step has turned "`IDLE` without `KICK`" into something else.
    fn token(&self) -> Token<S, M> {
        Token { mailbox: NonNull::from(self), unshared: PhantomData }
    }

    /// Sends past all ordinary messages and every bound; allocates. For the few messages that must never wait nor be
    /// refused; whoever sends them bounds their number. Some: the mailbox was idle, the caller must schedule it.
    pub fn push_control(&self, message: M) -> Option<Token<S, M>> {
        let node = Node::<M>::allocate();
        // SAFETY: the node is new, empty and ours.
        unsafe { Node::fill(node, message, 0) };
        let mut latest = self.owner.control.load(Ordering::Relaxed);
        loop {
            // SAFETY: the node is ours until the exchange succeeds.
            unsafe { node::set_next(node, latest) };
            // [C1] Release: publishes the node to `take_control`.
            let pushed = self.owner.control.compare_exchange_weak(
                latest,
                node,
                Ordering::Release, // [C1]
                Ordering::Relaxed,
            );
            match pushed {
                Ok(_) => break,
                Err(now) => latest = now,
            }
        }
        (self.kick() == IDLE).then(|| self.token())
    }

    /// Sets `KICK` and returns the tags before.
    fn kick(&self) -> usize {
        let mut head = self.senders.head.load(Ordering::Relaxed);
        loop {
            // [A1] Acquire: as in `publish`, for the token. [C2] Release: publishes the control push.
            let kicked = self.senders.head.compare_exchange_weak(
                head,
                tagged(head, KICK),
                Ordering::AcqRel, // [A1] [C2]
                Ordering::Relaxed,
            );
            match kicked {
                Ok(_) => return tags(head),
                Err(now) => head = now,
            }
        }
    }

    /// Owner: clears both bits of a head that refused to go idle.
    #[cold]
    fn clear_tags(&self) {
        let mut head = self.senders.head.load(Ordering::Relaxed);
        while tags(head) != 0 {
            // [C2] Acquire: sees the control push that set KICK.
            let cleared = self.senders.head.compare_exchange_weak(
                head,
                untagged(head),
                Ordering::Acquire, // [C2]
                Ordering::Relaxed,
            );
            match cleared {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Whether no token exists, and what its last holder did is seen; for who knows that nobody pushes.
    pub(super) fn is_idle(&self) -> bool {
        // [A1] Acquire: sees tail and state as the last owner left them.
        tags(self.senders.head.load(Ordering::Acquire)) == IDLE
    }

    /// Ends a mailbox that no sender and no token knows any more: hands every message to `late`, its nodes to `free`,
    /// and returns its state.
    ///
    /// # Safety
    /// `mailbox` is from [`Mailbox::create`], the caller is the only one that knows it, and everybody's last use of it
    /// happened before.
    pub(super) unsafe fn dissolve(
        mailbox: NonNull<Self>,
        mut late: impl FnMut(M),
        mut free: impl FnMut(*mut Link),
    ) -> S {
        // SAFETY: the caller is the only one that knows the mailbox.
        let this = unsafe { mailbox.as_ref() };
        let mut node = take_reversed(&this.owner.control);
        while !node.is_null() {
            // SAFETY: a control message that was taken from its list is ours, and filled.
            let (message, _) = unsafe { Node::<M>::empty(node) };
            // SAFETY: it is alive.
            let next = unsafe { node::next(node) };
            // SAFETY: control nodes are allocated one by one; this one is empty and ours.
            unsafe { Node::<M>::free(node) };
            late(message);
            node = next;
        }
        let stub = this.stub();
        let mut tail = this.owner.tail.with(|tail| {
            // SAFETY: nobody else knows the mailbox.
            unsafe { *tail }
        });
        loop {
            // SAFETY: the tail is alive as long as the mailbox is.
            let next = unsafe { node::next(tail) };
            if tail != stub {
                free(tail);
            }
            if next.is_null() {
                break;
            }
            // SAFETY: the successor of the tail is filled, and ours.
            late(unsafe { Node::<M>::empty(next) }.0);
            tail = next;
        }
        let state = this.owner.state.with_mut(|state| {
            // SAFETY: nobody else knows the mailbox, and the state is not used again.
            unsafe { state.read() }
        });
        let memory = mailbox.cast::<std::mem::MaybeUninit<Self>>();
        // SAFETY: `create` boxed it with this layout, and nobody else knows it; what is inside was moved out.
        drop(unsafe { Box::from_raw(memory.as_ptr()) });
        state
    }
}

impl<S, M> fmt::Debug for Mailbox<S, M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Mailbox({:06x}.{})", self.local(), self.generation())
    }
}

/// Takes the control list, first message first.
fn take_reversed(list: &AtomicPtr<Link>) -> *mut Link {
    // [C1] Acquire: sees the nodes; every push is in the release sequence that this reads from.
    let mut latest = list.swap(ptr::null_mut(), Ordering::Acquire);
    let mut first = ptr::null_mut();
    while !latest.is_null() {
        // SAFETY: the list is ours since the swap, and its nodes are alive.
        let earlier = unsafe { node::next(latest) };
        // SAFETY: the list is ours.
        unsafe { node::set_next(latest, first) };
        first = latest;
        latest = earlier;
    }
    first
}

/// The right to run a mailbox's owner: there is at most one, and it alone gives the state and the messages.
///
/// A token is in a run queue or in a worker's hand. It ends in [`Token::idle`] or in the directory's `retire`. Dropped
/// elsewhere it is lost: the service never runs again and its memory stays.
#[must_use = "a service whose token is dropped never runs again"]
pub struct Token<S, M> {
    mailbox: NonNull<Mailbox<S, M>>,
    unshared: PhantomData<*mut (S, M)>,
}

// SAFETY: a token is the only access to its state and messages, which may cross threads.
unsafe impl<S: Send, M: Send> Send for Token<S, M> {}

impl<S, M> Token<S, M> {
    pub(super) fn as_ptr(&self) -> NonNull<Mailbox<S, M>> {
        self.mailbox
    }

    /// Ends the token without going idle: no sender can make another.
    pub(super) fn into_ptr(self) -> NonNull<Mailbox<S, M>> {
        self.mailbox
    }

    /// The mailbox that it runs, as senders see it.
    #[inline]
    pub fn mailbox(&self) -> &Mailbox<S, M> {
        // SAFETY: a mailbox is freed after its token was retired only, or together with its directory if it is idle.
        unsafe { self.mailbox.as_ref() }
    }

    /// The id under which the directory knows it.
    pub fn local(&self) -> u32 {
        self.mailbox().local()
    }

    /// Which user of that id it is.
    pub fn generation(&self) -> u32 {
        self.mailbox().generation()
    }

    /// The state, which nobody else can reach.
    #[inline]
    pub fn state(&mut self) -> &mut S {
        self.mailbox().owner.state.with_mut(|state| {
            // SAFETY: the state is touched through the one token only, which is borrowed as long as the reference.
            unsafe { &mut *state }
        })
    }

    /// Takes the oldest message and gives its node and its bytes to the pool.
    #[inline]
    pub fn pop(&mut self, pool: &mut Pool<M>) -> Pop<M> {
        let tail = self.tail();
        let Some(next) = self.successor(tail) else {
            return self.pop_nothing(pool, tail);
        };
        Pop::Message(self.advance(pool, tail, next))
    }

    fn tail(&self) -> *mut Link {
        self.mailbox().owner.tail.with(|tail| {
            // SAFETY: the tail is the token's.
            unsafe { *tail }
        })
    }

    #[inline]
    fn successor(&self, tail: *mut Link) -> Option<*mut Link> {
        // SAFETY: the tail stays alive while it is the tail.
        let tail = unsafe { &*tail };
        // [A2] Acquire: sees the node that the sender linked, and what its swap saw.
        let next = tail.next.load(Ordering::Acquire);
        (!next.is_null()).then_some(next)
    }

    /// Makes `next` the stub, its message being taken.
    #[inline]
    fn advance(&mut self, pool: &mut Pool<M>, tail: *mut Link, next: *mut Link) -> M {
        // SAFETY: a linked node is filled, and the owner's.
        let (message, bytes) = unsafe { Node::<M>::empty(next) };
        let mailbox = self.mailbox();
        mailbox.owner.tail.with_mut(|tail| {
            // SAFETY: the tail is the token's.
            unsafe { *tail = next }
        });
        if tail != mailbox.stub() {
            // SAFETY: the old stub is an empty node of this mailbox that nobody else knows: its sender has linked it.
            unsafe { pool.give(tail) };
        }
        if mailbox.senders.bounds.messages != 0 {
            count(&mailbox.owner.popped_messages, 1);
        }
        if bytes != 0 {
            pool.release_bytes(bytes);
            if mailbox.senders.bounds.bytes != 0 {
                count(&mailbox.owner.popped_bytes, bytes as u64);
            }
        }
        message
    }

    #[cold]
    fn pop_nothing(&mut self, pool: &mut Pool<M>, tail: *mut Link) -> Pop<M> {
        for _ in 0..GAP_SPINS_MAX {
            if untagged(self.mailbox().senders.head.load(Ordering::Relaxed)) == tail {
                return Pop::Empty;
            }
            spin_loop();
            if let Some(next) = self.successor(tail) {
                return Pop::Message(self.advance(pool, tail, next));
            }
        }
        Pop::Gap
    }

    /// Whether control messages wait; one plain load.
    #[inline]
    pub fn has_control(&self) -> bool {
        !self.mailbox().owner.control.load(Ordering::Relaxed).is_null()
    }

    /// Takes all control messages, in the order sent.
    pub fn take_control(&mut self) -> ControlBatch<M> {
        ControlBatch { first: take_reversed(&self.mailbox().owner.control), messages: PhantomData }
    }

    /// Gives the mailbox back to its senders: the next one gets a new token.
    ///
    /// # Errors
    /// Something arrived, a message or control: the token comes back, keep running.
    pub fn idle(self) -> Result<(), Self> {
        if self.has_control() {
            return Err(self);
        }
        let tail = self.tail();
        // [A1] Release: hands tail and state to whom the next token falls. The mailbox is not touched after it.
        let now_idle = self.mailbox().senders.head.compare_exchange(
            tail,
            tagged(tail, IDLE),
            Ordering::Release, // [A1]
            Ordering::Relaxed,
        );
        match now_idle {
            Ok(_) => Ok(()),
            Err(head) => {
                if tags(head) != 0 {
                    self.mailbox().clear_tags();
                }
                Err(self)
            }
        }
    }
}

impl<S, M> fmt::Debug for Token<S, M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Token({:06x}.{})", self.local(), self.generation())
    }
}

/// Control messages in the order sent. Those that are not taken are dropped with it.
#[derive(Debug)]
pub struct ControlBatch<M> {
    first: *mut Link,
    messages: PhantomData<M>,
}

// SAFETY: it owns its messages, which may cross threads.
unsafe impl<M: Send> Send for ControlBatch<M> {}

impl<M> Iterator for ControlBatch<M> {
    type Item = M;

    fn next(&mut self) -> Option<M> {
        let node = self.first;
        if node.is_null() {
            return None;
        }
        // SAFETY: the batch owns its nodes.
        self.first = unsafe { node::next(node) };
        // SAFETY: it is filled, and no longer in the batch.
        let (message, _) = unsafe { Node::<M>::empty(node) };
        // SAFETY: control nodes are allocated one by one; this one is empty and ours.
        unsafe { Node::<M>::free(node) };
        Some(message)
    }
}

impl<M> Drop for ControlBatch<M> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod models;
