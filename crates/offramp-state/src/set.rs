// SPDX-License-Identifier: Apache-2.0
//! One interface for all sets: one writer at a time, and readers that need no lock.

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use crate::error::Error;
use crate::region::{Home, Memory, Window};
use crate::shape::Shape;
use crate::writer::Writer;

/// A set of any shape.
pub struct Set {
    shape: Shape,
    len: AtomicUsize,
    window: Arc<Window>,
    writer: Mutex<Box<dyn Writer>>,
    /// The process that may change it. A forked child has the lock in the state that it had, and may share the memory.
    made_by: u64,
    process: fn() -> u64,
}

/// How long a forked child waits for a lock, in milliseconds. A thread that the child does not have may hold it.
const LOCK_MS: u32 = 1000;

impl Set {
    /// An empty set in `memory`, which is all zeros and has [`Shape::bytes`]. `process` tells a forked child from its
    /// parents.
    #[must_use]
    pub fn new(shape: Shape, memory: Box<dyn Memory>, process: fn() -> u64) -> Self {
        let home = Home::new(memory, shape.words());
        Self {
            shape,
            len: AtomicUsize::new(0),
            window: home.window(),
            writer: Mutex::new((shape.kind().writer)(shape.capacity(), home)),
            made_by: process(),
            process,
        }
    }

    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `change` to change the set. Waits for other writers.
    pub fn change<T>(&self, change: impl FnOnce(&mut dyn Writer) -> Result<T, Error>) -> Result<T, Error> {
        self.check_process()?;
        self.changed(self.locked(), true, change)
    }

    /// The same, but if it would have to wait or to work for long, returns [`Error::Busy`] and changes nothing.
    pub fn change_now<T>(&self, change: impl FnOnce(&mut dyn Writer) -> Result<T, Error>) -> Result<T, Error> {
        self.check_process()?;
        match self.writer.try_lock() {
            Ok(writer) => self.changed(writer, false, change),
            Err(_) => Err(Error::Busy),
        }
    }

    fn changed<T>(
        &self,
        mut writer: MutexGuard<'_, Box<dyn Writer>>,
        patient: bool,
        change: impl FnOnce(&mut dyn Writer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        writer.be_patient(patient);
        let result = change(&mut **writer);
        self.len.store(writer.len(), Ordering::Relaxed);
        result
    }

    fn locked(&self) -> MutexGuard<'_, Box<dyn Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ours(&self) -> bool {
        (self.process)() == self.made_by
    }

    fn check_process(&self) -> Result<(), Error> {
        if self.is_ours() { Ok(()) } else { Err(Error::Forked) }
    }

    /// What only the writer knows. In a forked child: `Forked`, if a thread was changing the set during the fork.
    pub fn look<T>(&self, look: impl FnOnce(&dyn Writer) -> T) -> Result<T, Error> {
        if self.is_ours() {
            return Ok(look(&**self.locked()));
        }
        for _ in 0..LOCK_MS {
            match self.writer.try_lock() {
                Ok(writer) => return Ok(look(&**writer)),
                Err(TryLockError::Poisoned(writer)) => return Ok(look(&**writer.into_inner())),
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
            }
        }
        Err(Error::Forked)
    }

    /// Whether a packet with `key` is in the set (for ranges: in one of the networks), decided as compiled code does.
    #[must_use]
    pub fn matches(&self, key: u128) -> bool {
        let (matches, capacity) = (self.shape.kind().matches, self.shape.capacity());
        self.window.read(|words| matches(words, capacity, key))
    }

    /// Makes sure that the memory stays where it is, and that nothing that is being read there is reused.
    #[must_use]
    pub fn read(self: &Arc<Self>) -> Reader {
        let (start, side) = self.window.enter();
        Reader {
            set: Arc::clone(self),
            start: AtomicPtr::new(start.as_ptr()),
            side,
        }
    }
}

/// A place among the readers of a set. Changes of the set may wait until it is dropped.
pub struct Reader {
    set: Arc<Set>,
    /// It is atomic only so that another thread may have it.
    start: AtomicPtr<u8>,
    side: usize,
}

impl Reader {
    /// The start of the memory, until the reader is dropped.
    #[must_use]
    pub fn start(&self) -> *const u8 {
        self.start.load(Ordering::Relaxed)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.set.window.leave(self.side);
    }
}
