// SPDX-License-Identifier: Apache-2.0
//! The memory of a set as atomic words. The only unsafe code of this crate.
//!
//! ```text
//! writer ──> Home ──owns──> Region ──> memory
//!              └─ moves ──> Window ──> the same memory, for readers, who hold a place in `Readers` meanwhile
//! ```

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering, fence};

use crate::error::Error;
use crate::readers::Readers;

/// Words before the first half or node, and before the slots of a half.
pub const HEADER: usize = 8;
/// The header word that counts grace periods, for readers in other processes.
pub const GRACES: usize = 1;

/// The verifier follows an address in a map's value this far (`BPF_MAX_VAR_OFF`).
pub const MAX_BYTES: usize = 1 << 29;

/// Finds out whether there is memory for work that needs so many bytes. Trees, and text, end the process if there is
/// none for them; so it is tried before anything is changed.
pub fn room_for(bytes: usize) -> Result<(), Error> {
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(bytes).map_err(|_| Error::Memory)?;
    std::hint::black_box(&room);
    Ok(())
}

/// Memory that a set can live in.
///
/// # Safety
/// `start` leads to `size` bytes, at a multiple of 8. They are readable and writable as long as the value lives. Except
/// through this crate, nobody accesses them other than by atomic loads.
pub unsafe trait Memory: Send + Sync + 'static {
    fn start(&self) -> NonNull<u8>;
    fn size(&self) -> usize;
    /// Waits until every reader outside of this process (a program in the kernel) that runs at the call has ended.
    fn wait(&self) -> Result<(), Error>;
}

/// Zeroed memory that belongs to this process alone. `W` is called at each grace period.
pub struct Heap<W = fn()> {
    words: NonNull<[u64]>,
    at_wait: W,
}

impl Heap {
    #[must_use]
    pub fn new(words: usize) -> Self {
        Self::watched(words, || ())
    }
}

impl<W> Heap<W> {
    pub fn watched(words: usize, at_wait: W) -> Self {
        let words = NonNull::from(Box::leak(vec![0; words].into_boxed_slice()));
        Self { words, at_wait }
    }
}

impl<W> Drop for Heap<W> {
    fn drop(&mut self) {
        // SAFETY: leaked by `watched`, and nobody uses it after the memory's life.
        drop(unsafe { Box::from_raw(self.words.as_ptr()) });
    }
}

// SAFETY: the words are reached by atomic operations alone.
unsafe impl<W: Send> Send for Heap<W> {}
// SAFETY: as above.
unsafe impl<W: Sync> Sync for Heap<W> {}

// SAFETY: an allocation of u64, owned by this value.
unsafe impl<W: Fn() + Send + Sync + 'static> Memory for Heap<W> {
    fn start(&self) -> NonNull<u8> {
        self.words.cast()
    }

    fn size(&self) -> usize {
        self.words.len() * 8
    }

    fn wait(&self) -> Result<(), Error> {
        (self.at_wait)();
        Ok(())
    }
}

/// Memory of at least the given number of words.
struct Region {
    memory: Box<dyn Memory>,
    words: usize,
}

impl Region {
    fn new(memory: Box<dyn Memory>, words: usize) -> Self {
        assert!(memory.size() / 8 >= words, "the memory has {} bytes", memory.size());
        assert!(
            memory.start().cast::<AtomicU64>().is_aligned(),
            "the memory is misaligned"
        );
        Self { memory, words }
    }

    fn start(&self) -> *mut AtomicU64 {
        self.memory.start().cast().as_ptr()
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words are there, as checked by `new`, while the memory lives, which the slice borrows;
        // everybody accesses them atomically, by contract of `Memory`.
        unsafe { std::slice::from_raw_parts(self.start(), self.words) }
    }
}

/// Where readers find the memory.
pub(crate) struct Window {
    start: AtomicPtr<AtomicU64>,
    words: usize,
    readers: Readers,
}

impl Window {
    /// Enters. The address stays valid until [`Self::leave`] is called with the number beside it.
    pub(crate) fn enter(&self) -> (NonNull<u8>, usize) {
        let side = self.readers.enter();
        // Acquire: pairs with the release in `Home::rehome`, so that the copy is complete.
        let start = NonNull::new(self.start.load(Ordering::Acquire)).expect("memory does not start at 0");
        (start.cast(), side)
    }

    pub(crate) fn leave(&self, side: usize) {
        self.readers.leave(side);
    }

    /// Gives the words to `read` and returns its result. It takes no lock, and is also right in a forked child that
    /// shares the memory although nobody waits for its readers: if memory was reused meanwhile, it reads once more.
    pub(crate) fn read<T>(&self, read: impl Fn(&[AtomicU64]) -> T) -> T {
        let (start, side) = self.enter();
        // SAFETY: `Home` keeps the memory until all who are inside have left; else as `Region::words`.
        let words: &[AtomicU64] = unsafe { std::slice::from_raw_parts(start.cast().as_ptr(), self.words) };
        let result = loop {
            let before = words[GRACES].load(Ordering::Acquire);
            let result = read(words);
            // As in a sequence lock: if a load in `read` saw a store made after a grace period, the load below sees its
            // count.
            fence(Ordering::Acquire);
            if words[GRACES].load(Ordering::Relaxed) == before {
                break result;
            }
        };
        self.leave(side);
        result
    }
}

/// The writer's handle to the memory.
pub struct Home {
    region: Region,
    window: Arc<Window>,
    /// Whether it may wait. If it may not, whatever would have to wait returns [`Error::Busy`].
    pub patient: bool,
}

impl Home {
    /// # Panics
    /// If the memory is smaller than `words`.
    #[must_use]
    pub fn new(memory: Box<dyn Memory>, words: usize) -> Self {
        let region = Region::new(memory, words);
        let window = Arc::new(Window {
            start: AtomicPtr::new(region.start()),
            words,
            readers: Readers::default(),
        });
        Self {
            region,
            window,
            patient: true,
        }
    }

    pub(crate) fn window(&self) -> Arc<Window> {
        Arc::clone(&self.window)
    }

    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        self.region.words()
    }

    /// Makes `value` current: whoever sees it also sees all that was stored before.
    pub(crate) fn publish(&self, value: u64) {
        // Release: pairs with the address dependency of readers, see lib.rs.
        self.words()[0].store(value, Ordering::Release);
    }

    /// To be called before work that takes long.
    pub(crate) fn be_patient(&self) -> Result<(), Error> {
        if self.patient { Ok(()) } else { Err(Error::Busy) }
    }

    /// A grace period: when it returns, all readers that may know what was current before have ended.
    pub(crate) fn wait(&self) -> Result<(), Error> {
        self.be_patient()?;
        self.region.memory.wait()?;
        self.window.readers.wait();
        self.words()[GRACES].fetch_add(1, Ordering::Relaxed);
        // Before all stores to come; pairs with the fence in `Window::read`.
        fence(Ordering::Release);
        Ok(())
    }

    /// Moves to `memory`, which is all zeros and has the size of the old memory. Readers find the same there.
    pub fn rehome(&mut self, memory: Box<dyn Memory>) {
        let new = Region::new(memory, self.region.words);
        for (to, from) in new.words().iter().zip(self.region.words()) {
            match from.load(Ordering::Relaxed) {
                0 => {} // most of it: memory that is not written to need not exist
                word => to.store(word, Ordering::Relaxed),
            }
        }
        self.window.start.store(new.start(), Ordering::Release);
        self.window.readers.wait();
        self.region = new;
    }
}
