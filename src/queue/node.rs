//! The node that carries one message through mailboxes and pools.
//!
//! ```text
//!           ┌──────────┬───────────┬──────────────────┐
//!  Node<M>  │ next     │ bytes     │ message          │
//!           └──────────┴───────────┴──────────────────┘
//!            ▲ Link     ▲ Content, empty while the node is free or a mailbox's stub
//! ```
//!
//! Queues link [`Link`]s, since a mailbox's first stub is a link alone. Whoever holds a node's address outside a
//! queue owns it; a node in a queue is owned by the queue's owner once it can see it.

use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicPtr, Ordering};
use std::mem::MaybeUninit;
use std::ptr;

/// What queues see of a node. Aligned to 8, so that two low bits of its address are free for tags.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) next: AtomicPtr<Link>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { next: AtomicPtr::new(ptr::null_mut()) }
    }
}

struct Content<M> {
    bytes: usize,
    message: M,
}

/// A message on its way.
#[repr(C)]
pub(super) struct Node<M> {
    link: Link,
    content: UnsafeCell<MaybeUninit<Content<M>>>,
}

impl<M> Node<M> {
    /// An empty node on the heap; the caller owns it.
    pub(super) fn allocate() -> *mut Link {
        let node = Self { link: Link::new(), content: UnsafeCell::new(MaybeUninit::uninit()) };
        Box::into_raw(Box::new(node)).cast()
    }

    /// Gives an empty node back to the allocator; a message inside would be forgotten.
    ///
    /// # Safety
    /// `link` is from [`Node::<M>::allocate`], and the caller owns it.
    pub(super) unsafe fn free(link: *mut Link) {
        // SAFETY: the caller owns this node, which `allocate` boxed.
        drop(unsafe { Box::from_raw(link.cast::<Self>()) });
    }

    /// Puts a message in.
    ///
    /// # Safety
    /// `link` is an empty node of messages `M`, and the caller owns it.
    pub(super) unsafe fn fill(link: *mut Link, message: M, bytes: usize) {
        // SAFETY: the caller owns the node, so it lives.
        let node = unsafe { &*link.cast::<Self>() };
        node.content.with_mut(|content| {
            // SAFETY: the caller owns the node, so nobody else touches its content.
            unsafe { content.write(MaybeUninit::new(Content { bytes, message })) }
        });
    }

    /// Moves its message out, with the bytes that are counted for it.
    ///
    /// # Safety
    /// `link` is a filled node of messages `M`, the caller owns its content, and does not empty it twice.
    pub(super) unsafe fn empty(link: *mut Link) -> (M, usize) {
        // SAFETY: the caller owns the node's content, so the node lives.
        let node = unsafe { &*link.cast::<Self>() };
        let content = node.content.with_mut(|content| {
            // SAFETY: nobody else touches the content.
            unsafe { content.read() }
        });
        // SAFETY: the caller says that it is filled.
        let content = unsafe { content.assume_init() };
        (content.message, content.bytes)
    }
}

/// Its successor, as whoever owns both sees it.
///
/// # Safety
/// `link` is alive.
#[inline]
pub(super) unsafe fn next(link: *mut Link) -> *mut Link {
    // SAFETY: the caller says that it is alive.
    let link = unsafe { &*link };
    link.next.load(Ordering::Relaxed)
}

/// Sets its successor before others can see it.
///
/// # Safety
/// `link` is alive.
#[inline]
pub(super) unsafe fn set_next(link: *mut Link, next: *mut Link) {
    // SAFETY: the caller says that it is alive.
    let link = unsafe { &*link };
    link.next.store(next, Ordering::Relaxed);
}
