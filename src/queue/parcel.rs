//! A value of any type that moves inside a message without an allocation.
//!
//! ```text
//!            ┌──────────┬──────────────────────────────┐
//!  Parcel    │ vtable   │ 5 words: the value itself,   │
//!            │          │ or a pointer to a box of it  │
//!            └──────────┴──────────────────────────────┘
//! ```
//!
//! A value lives inside if it has at most [`Parcel::INLINE_BYTES`] bytes and no more than word alignment, on the heap
//! otherwise. A parcel is dropped with its value; [`Parcel::open`] moves the value out. Values are `Send`, so a
//! parcel is `Send`; it is never shared.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, align_of, size_of};

type Space = MaybeUninit<[usize; 5]>;

/// A type-erased value; see the module's text.
pub struct Parcel {
    vtable: &'static Vtable,
    space: Space,
    // Not `Sync`, and `Send` only by the promise below.
    _not_auto: PhantomData<*mut ()>,
}

// SAFETY: `Parcel::new` takes only `Send` values, and nothing else is inside.
unsafe impl Send for Parcel {}

struct Vtable {
    type_id: fn() -> TypeId,
    /// Drops the value in the space.
    ///
    /// Safety: the space holds a value of this vtable's type, which is not used again.
    drop: unsafe fn(*mut Space),
    heap_bytes: usize,
}

struct Of<T>(PhantomData<T>);

impl<T: Send + 'static> Of<T> {
    const INLINE: bool = size_of::<T>() <= size_of::<Space>() && align_of::<T>() <= align_of::<Space>();

    const VTABLE: Vtable = Vtable {
        type_id: TypeId::of::<T>,
        drop: if Self::INLINE { drop_in_space::<T> } else { drop_in_space::<Box<T>> },
        heap_bytes: if Self::INLINE { 0 } else { size_of::<T>() },
    };
}

/// Safety: as [`Vtable::drop`], the space holds a `V`.
unsafe fn drop_in_space<V>(space: *mut Space) {
    // SAFETY: the caller promises a `V` in the space; `new` checked that it fits with its alignment.
    unsafe { space.cast::<V>().drop_in_place() }
}

impl Parcel {
    /// The largest value that needs no allocation.
    pub const INLINE_BYTES: usize = size_of::<Space>();

    /// Packs a value.
    pub fn new<T: Send + 'static>(value: T) -> Self {
        let mut space = Space::uninit();
        if Of::<T>::INLINE {
            // SAFETY: a `T` fits into the space with its alignment (`INLINE`).
            unsafe { space.as_mut_ptr().cast::<T>().write(value) }
        } else {
            // SAFETY: a box is one word.
            unsafe { space.as_mut_ptr().cast::<Box<T>>().write(Box::new(value)) }
        }
        Self { vtable: &Of::<T>::VTABLE, space, _not_auto: PhantomData }
    }

    /// Whether the value is a `T`.
    pub fn is<T: Send + 'static>(&self) -> bool {
        (self.vtable.type_id)() == TypeId::of::<T>()
    }

    /// Bytes that the value occupies outside the parcel; what it points to is not counted.
    pub fn heap_len(&self) -> usize {
        self.vtable.heap_bytes
    }

    /// Moves the value out.
    ///
    /// # Errors
    /// Gives the parcel back if its value is not a `T`.
    pub fn open<T: Send + 'static>(self) -> Result<T, Self> {
        if !self.is::<T>() {
            return Err(self);
        }
        let parcel = ManuallyDrop::new(self);
        if Of::<T>::INLINE {
            // SAFETY: the value is a `T`, it lives inside, and the parcel is not dropped any more.
            Ok(unsafe { parcel.space.as_ptr().cast::<T>().read() })
        } else {
            // SAFETY: the value is a `T`, it lives in a box, and the parcel is not dropped any more.
            let boxed = unsafe { parcel.space.as_ptr().cast::<Box<T>>().read() };
            Ok(*boxed)
        }
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        // SAFETY: the space holds a value of the vtable's type until here: `open` never drops the parcel it reads from.
        unsafe { (self.vtable.drop)(&raw mut self.space) }
    }
}

impl fmt::Debug for Parcel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Parcel(..)")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn values_inside_and_outside_move_and_drop_once() {
        let witness = Arc::new(());
        let small = Parcel::new(Arc::clone(&witness));
        let large = Parcel::new(([0u64; 20], Arc::clone(&witness)));
        assert_eq!((small.heap_len(), large.heap_len()), (0, 168));
        assert_eq!(Arc::strong_count(&witness), 3);
        drop(small.open::<Arc<()>>().unwrap());
        let large = large.open::<u32>().unwrap_err();
        assert!(large.is::<([u64; 20], Arc<()>)>());
        drop(large);
        assert_eq!(Arc::strong_count(&witness), 1);
    }

    #[test]
    fn odd_types_work() {
        #[repr(align(64))]
        #[derive(Debug, PartialEq)]
        struct Aligned(u8);
        assert_eq!(Parcel::new(Aligned(7)).open::<Aligned>().unwrap(), Aligned(7));
        assert_eq!(Parcel::new(()).open::<()>().unwrap(), ());
        assert_eq!(Parcel::new([1u8; 41]).open::<[u8; 41]>().unwrap(), [1; 41]);
        assert_eq!(Parcel::new(String::from("x")).open::<String>().unwrap(), "x");
        assert!(Parcel::new(1u32).open::<i32>().is_err(), "no conversion");
    }
}
