// SPDX-License-Identifier: Apache-2.0
//! A single-producer single-consumer ring in memory that two parties share.
//!
//! ```text
//!   producer: u32   written by the producer only, with Release, after the entries
//!   consumer: u32   written by the consumer only, with Release, after the entries have been read
//!   flags: u32      written by the kernel: bit 0 = "wake me up"
//!   entries: [T; size], size a power of two; index & (size - 1) is the slot
//! ```
//!
//! Indices run freely and wrap at 2^32; `producer - consumer` (wrapping) is the number of entries in the ring. Each
//! side keeps its own index and a cached copy of the other's. It reads the shared one (a cache miss) only when the
//! cached one is not enough. The layout and the barriers are those of Documentation/networking/af_xdp.rst and of
//! xsk_queue.h in the kernel.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// `XDP_RING_NEED_WAKEUP`: the kernel sleeps on this ring until a system call wakes it.
const NEED_WAKEUP: u32 = 1;

/// `struct xdp_desc` of linux/if_xdp.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    pub address: u64,
    pub length: u32,
    pub options: u32,
}

const _: () = assert!(size_of::<Descriptor>() == 16 && align_of::<Descriptor>() == 8);

/// The memory of one ring, for one side of it. It cannot be cloned: the other side belongs to somebody else.
pub struct RingMemory<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
    /// Keeps the memory mapped.
    _owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the pointers lead to memory that `owner` keeps alive; the indices are atomic, and the entries between them
// belong to one side at a time, which is the ring's protocol.
unsafe impl<T: Send> Send for RingMemory<T> {}

impl<T: Copy + Default + Send + 'static> RingMemory<T> {
    /// A ring at the given places.
    ///
    /// # Safety
    /// The pointers are valid, aligned and not otherwise accessed for as long as `owner` lives, `entries` leads to
    /// `size` values of `T` for which every bit pattern is valid, and this value becomes the ring's only producer or
    /// its only consumer.
    ///
    /// # Panics
    /// If `size` is not a power of two.
    pub unsafe fn new(
        producer: NonNull<AtomicU32>,
        consumer: NonNull<AtomicU32>,
        flags: NonNull<AtomicU32>,
        entries: NonNull<T>,
        size: u32,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        assert!(size.is_power_of_two(), "ring size {size} is not a power of two");
        Self {
            producer,
            consumer,
            flags,
            entries,
            size,
            _owner: owner,
        }
    }

    fn index(which: &NonNull<AtomicU32>) -> &AtomicU32 {
        // SAFETY: valid as long as `owner` lives (see `new`); the borrow is of a field of the struct that holds
        // `owner`.
        unsafe { which.as_ref() }
    }

    fn slot(&self, index: u32) -> NonNull<T> {
        // SAFETY: masked to less than `size`.
        unsafe { self.entries.add((index & (self.size - 1)) as usize) }
    }

    /// Whether the kernel needs a system call before it goes on with this ring.
    #[must_use]
    pub fn needs_wakeup(&self) -> bool {
        Self::index(&self.flags).load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }

    /// Entries that were produced and not yet consumed, as of now.
    #[must_use]
    pub fn len(&self) -> u32 {
        let consumer = Self::index(&self.consumer).load(Ordering::Acquire);
        Self::index(&self.producer)
            .load(Ordering::Acquire)
            .wrapping_sub(consumer)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The side that writes entries: fill and tx rings.
pub struct Producer<T> {
    memory: RingMemory<T>,
    /// Our index, and the first index that we may not write yet: the consumer's last seen index plus the ring's size.
    next: u32,
    limit: u32,
}

impl<T: Copy + Default + Send + 'static> Producer<T> {
    #[must_use]
    pub fn new(memory: RingMemory<T>) -> Self {
        let next = RingMemory::<T>::index(&memory.producer).load(Ordering::Relaxed);
        let limit = RingMemory::<T>::index(&memory.consumer)
            .load(Ordering::Acquire)
            .wrapping_add(memory.size);
        Self { memory, next, limit }
    }

    #[must_use]
    pub fn memory(&self) -> &RingMemory<T> {
        &self.memory
    }

    /// Up to `wanted` slots to write to; fewer if the ring is nearly full. The consumer sees nothing before `submit`.
    pub fn reserve(&mut self, wanted: usize) -> Reservation<'_, T> {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        if self.limit.wrapping_sub(self.next) < wanted {
            // Acquire: the consumer has finished reading the slots that we are about to overwrite.
            let consumer = RingMemory::<T>::index(&self.memory.consumer).load(Ordering::Acquire);
            self.limit = consumer.wrapping_add(self.memory.size);
        }
        let granted = self.limit.wrapping_sub(self.next).min(wanted);
        Reservation {
            ring: self,
            granted,
            written: 0,
        }
    }
}

/// Slots that a producer may write.
pub struct Reservation<'a, T> {
    ring: &'a mut Producer<T>,
    granted: u32,
    written: u32,
}

impl<T: Copy + Default + Send + 'static> Reservation<'_, T> {
    /// Slots that are still to be written.
    #[must_use]
    pub fn remaining(&self) -> usize {
        (self.granted - self.written) as usize
    }

    /// Writes the next slot.
    ///
    /// # Panics
    /// If no slot remains.
    #[inline]
    pub fn put(&mut self, entry: T) {
        assert!(self.written < self.granted, "more entries than reserved");
        let slot = self.ring.memory.slot(self.ring.next.wrapping_add(self.written));
        // SAFETY: the slot lies between our index and `limit`, where only the producer has access.
        unsafe { slot.write(entry) };
        self.written += 1;
    }

    /// Shows the consumer what was written.
    pub fn submit(self) {
        self.ring.next = self.ring.next.wrapping_add(self.written);
        // Release: the entries are written before the index says so.
        RingMemory::<T>::index(&self.ring.memory.producer).store(self.ring.next, Ordering::Release);
    }
}

/// The side that reads entries: rx and completion rings.
pub struct Consumer<T> {
    memory: RingMemory<T>,
    /// Our index, and the producer's last seen index.
    next: u32,
    limit: u32,
}

impl<T: Copy + Default + Send + 'static> Consumer<T> {
    #[must_use]
    pub fn new(memory: RingMemory<T>) -> Self {
        let next = RingMemory::<T>::index(&memory.consumer).load(Ordering::Relaxed);
        Self {
            memory,
            next,
            limit: next,
        }
    }

    #[must_use]
    pub fn memory(&self) -> &RingMemory<T> {
        &self.memory
    }

    /// Up to `wanted` entries to read. They stay in the ring until `release`.
    pub fn peek(&mut self, wanted: usize) -> Peek<'_, T> {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        if self.limit.wrapping_sub(self.next) < wanted {
            // Acquire: the entries were written before the index that we read.
            self.limit = RingMemory::<T>::index(&self.memory.producer).load(Ordering::Acquire);
        }
        let granted = self.limit.wrapping_sub(self.next).min(self.memory.size).min(wanted);
        Peek {
            ring: self,
            granted,
            read: 0,
        }
    }
}

/// Entries that a consumer may read: an iterator.
pub struct Peek<'a, T> {
    ring: &'a mut Consumer<T>,
    granted: u32,
    read: u32,
}

impl<T: Copy + Default + Send + 'static> Iterator for Peek<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.read == self.granted {
            return None;
        }
        let slot = self.ring.memory.slot(self.ring.next.wrapping_add(self.read));
        self.read += 1;
        // SAFETY: the slot lies between our index and `limit`, where the producer does not write.
        Some(unsafe { slot.read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.granted - self.read) as usize;
        (left, Some(left))
    }
}

impl<T: Copy + Default + Send + 'static> ExactSizeIterator for Peek<'_, T> {}

impl<T: Copy + Default + Send + 'static> Peek<'_, T> {
    /// Counts the entry that was read last as unread: it stays in the ring, and is the next to be read.
    ///
    /// # Panics
    /// If none was read.
    #[inline]
    pub fn unread(&mut self) {
        self.read = self.read.checked_sub(1).expect("an entry that was read");
    }

    /// Gives the producer back the slots of the entries that were read.
    pub fn release(self) {
        self.ring.next = self.ring.next.wrapping_add(self.read);
        // Release: we have finished reading the entries before the producer may overwrite them.
        RingMemory::<T>::index(&self.ring.memory.consumer).store(self.ring.next, Ordering::Release);
    }
}

/// An empty ring in ordinary memory, with indices that begin at `start`. For tests, and for ports whose other side is
/// not a kernel.
#[must_use]
pub fn pair<T: Copy + Default + Send + 'static>(size: u32, start: u32) -> (Producer<T>, Consumer<T>) {
    struct Storage<T> {
        indices: [AtomicU32; 3],
        entries: Box<[UnsafeCell<T>]>,
    }
    // SAFETY: the cells are reached through the two sides alone, whose protocol gives each to one side at a time.
    unsafe impl<T: Send> Sync for Storage<T> {}

    let storage = Arc::new(Storage {
        indices: [AtomicU32::new(start), AtomicU32::new(start), AtomicU32::new(0)],
        entries: (0..size).map(|_| UnsafeCell::new(T::default())).collect(),
    });
    let side = || {
        let [producer, consumer, flags] = storage.indices.each_ref().map(NonNull::from);
        let entries = NonNull::from(&*storage.entries).cast();
        // SAFETY: everything lies in `storage`, which becomes the owner; called once for each side.
        unsafe { RingMemory::new(producer, consumer, flags, entries, size, Arc::clone(&storage) as _) }
    };
    (Producer::new(side()), Consumer::new(side()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut Producer<u64>, values: &[u64]) -> usize {
        let mut slots = ring.reserve(values.len());
        let granted = slots.remaining();
        values[..granted].iter().for_each(|&value| slots.put(value));
        slots.submit();
        granted
    }

    fn pop(ring: &mut Consumer<u64>, most: usize) -> Vec<u64> {
        let mut entries = ring.peek(most);
        let values = entries.by_ref().collect();
        entries.release();
        values
    }

    #[test]
    fn entries_arrive_in_order_across_the_wrap_of_the_indices() {
        let (mut producer, mut consumer) = pair(4, u32::MAX - 5);
        for turn in 0..20 {
            assert_eq!(push(&mut producer, &[turn, turn + 100, turn + 200]), 3);
            assert_eq!(pop(&mut consumer, 8), [turn, turn + 100, turn + 200]);
        }
    }

    #[test]
    fn a_full_ring_grants_what_is_left_and_a_stale_cache_is_refreshed() {
        let (mut producer, mut consumer) = pair(4, 0);
        assert_eq!(push(&mut producer, &[1, 2, 3, 4, 5, 6]), 4);
        assert_eq!(push(&mut producer, &[5]), 0);
        assert_eq!(pop(&mut consumer, 3), [1, 2, 3]);
        assert_eq!(push(&mut producer, &[5, 6, 7, 8]), 3);
        assert_eq!(pop(&mut consumer, 8), [4, 5, 6, 7]);
        assert_eq!(pop(&mut consumer, 8), []);
    }

    #[test]
    fn what_is_not_submitted_or_not_released_did_not_happen() {
        let (mut producer, mut consumer) = pair(4, u32::MAX);
        producer.reserve(2).put(9);
        assert!(producer.memory().is_empty());
        push(&mut producer, &[1, 2]);
        assert_eq!(consumer.peek(2).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(consumer.memory().len(), 2);
        assert_eq!(pop(&mut consumer, 1), [1]);
        assert_eq!(pop(&mut consumer, 2), [2]);
    }

    #[test]
    fn an_entry_that_is_unread_comes_again() {
        let (mut producer, mut consumer) = pair(4, u32::MAX);
        push(&mut producer, &[1, 2, 3]);
        let mut entries = consumer.peek(3);
        assert_eq!((entries.next(), entries.next()), (Some(1), Some(2)));
        entries.unread();
        assert_eq!(entries.len(), 2);
        entries.release();
        assert_eq!(pop(&mut consumer, 3), [2, 3]);
    }

    #[test]
    #[should_panic(expected = "more entries than reserved")]
    fn a_reservation_cannot_be_overrun() {
        let (mut producer, _consumer) = pair(2, 0);
        let mut slots = producer.reserve(9);
        (0..3).for_each(|value| slots.put(value));
    }

    #[test]
    fn two_threads_see_every_entry_once() {
        let count = if cfg!(miri) { 300 } else { 200_000 };
        let (mut producer, mut consumer) = pair(64, u32::MAX - 100);
        let writer = std::thread::spawn(move || {
            let mut next = 0;
            while next < count {
                let batch: Vec<u64> = (next..count.min(next + 17)).collect();
                next += push(&mut producer, &batch) as u64;
            }
        });
        let mut expected = 0;
        while expected < count {
            for value in pop(&mut consumer, 23) {
                assert_eq!(value, expected);
                expected += 1;
            }
        }
        writer.join().unwrap();
    }
}
