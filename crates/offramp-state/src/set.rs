// SPDX-License-Identifier: Apache-2.0
//! One face for all sets: one writer at a time, and readers who need no lock.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use crate::address::Address;
use crate::bitmap::{self, Bitmap};
use crate::hash::{self, Hash};
use crate::prefixes::Prefixes;
use crate::region::{Home, Memory, Window};
use crate::shape::{Family, HashLayout, Shape, Structure};
use crate::tree;
use crate::{Error, Item, Items};

enum Content {
    Bitmap(Bitmap),
    Hash(Hash<u64>),
    Wide(Hash<u128>),
    Prefixes(Prefixes<u32>),
    Prefixes6(Prefixes<u128>),
}

/// A set of any shape.
pub struct Set {
    shape: Shape,
    len: AtomicUsize,
    window: Arc<Window>,
    writer: Mutex<Writer>,
    /// The process that may change it. A forked child has the lock as it was, and may share the memory.
    process: u32,
}

/// The right to change a set.
pub struct Writer {
    content: Content,
    home: Home,
}

/// Milliseconds that a forked child waits for a lock that may be held by a thread that it does not have.
const LOCK_MS: u32 = 1000;

impl Set {
    /// An empty set in `memory`, which is all zeros, and has [`Shape::bytes`].
    #[must_use]
    pub fn new(shape: Shape, memory: Box<dyn Memory>) -> Self {
        let home = Home::new(memory, shape.words());
        let seed = RandomState::new().hash_one(0);
        let Shape { capacity, .. } = shape;
        let content = match (shape.structure, shape.family) {
            (Structure::Bitmap, _) => Content::Bitmap(Bitmap::default()),
            (Structure::Hash, Family::Ip6) => Content::Wide(Hash::new(capacity, seed, &home)),
            (Structure::Hash, _) => Content::Hash(Hash::new(capacity, seed, &home)),
            (Structure::Ranges, Family::Ip6) => Content::Prefixes6(Prefixes::new(capacity, &home)),
            (Structure::Ranges, _) => Content::Prefixes(Prefixes::new(capacity, &home)),
        };
        Self {
            shape,
            len: AtomicUsize::new(0),
            window: home.window(),
            writer: Mutex::new(Writer { content, home }),
            process: process::id(),
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

    /// For changing it. Waits for other writers.
    pub fn change<T>(&self, change: impl FnOnce(&mut Writer) -> Result<T, Error>) -> Result<T, Error> {
        self.check_process()?;
        self.changed(self.locked(), true, change)
    }

    /// The same, but returns [`Error::Busy`], and changes nothing, if it would have to wait or to work for long.
    pub fn change_now<T>(&self, change: impl FnOnce(&mut Writer) -> Result<T, Error>) -> Result<T, Error> {
        self.check_process()?;
        match self.writer.try_lock() {
            Ok(writer) => self.changed(writer, false, change),
            Err(_) => Err(Error::Busy),
        }
    }

    fn changed<T>(
        &self,
        mut writer: MutexGuard<'_, Writer>,
        patient: bool,
        change: impl FnOnce(&mut Writer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        writer.home.patient = patient;
        let result = change(&mut writer);
        self.len.store(writer.len(), Ordering::Relaxed);
        result
    }

    fn locked(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_process(&self) -> Result<(), Error> {
        if process::id() == self.process {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    /// What only the writer knows. In a forked child: `Forked`, if a thread was changing the set when the process forked.
    pub fn look<T>(&self, look: impl FnOnce(&Writer) -> T) -> Result<T, Error> {
        if process::id() == self.process {
            return Ok(look(&self.locked()));
        }
        for _ in 0..LOCK_MS {
            match self.writer.try_lock() {
                Ok(writer) => return Ok(look(&writer)),
                Err(TryLockError::Poisoned(writer)) => return Ok(look(&writer.into_inner())),
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
            }
        }
        Err(Error::Forked)
    }

    /// Whether a packet with `key` is in the set: of ranges, in one of the networks. As compiled code finds out.
    #[must_use]
    pub fn matches(&self, key: u128) -> bool {
        let Shape { capacity, family, .. } = self.shape;
        self.window.read(|words| match (self.shape.structure, family) {
            (Structure::Bitmap, _) => u16::try_from(key).is_ok_and(|port| bitmap::contains(words, port)),
            (Structure::Hash, Family::Ip6) => hash::contains(words, HashLayout::new(capacity, true), key),
            (Structure::Hash, _) => hash::contains(words, HashLayout::new(capacity, false), key as u64),
            (Structure::Ranges, Family::Ip6) => tree::find::<u128>(words, key).is_some(),
            (Structure::Ranges, _) => tree::find::<u32>(words, key as u32).is_some(),
        })
    }

    /// Makes sure that the memory stays where it is, and that nothing is reused that is being read there.
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

/// A place among the readers of a set. Changes of the set may wait for its end.
pub struct Reader {
    set: Arc<Set>,
    /// Atomic only so that another thread may have it.
    start: AtomicPtr<u8>,
    side: usize,
}

impl Reader {
    /// Where the memory begins, until the reader is dropped.
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

impl Writer {
    fn len(&self) -> usize {
        match &self.content {
            Content::Bitmap(bitmap) => bitmap.len(),
            Content::Hash(hash) => hash.len(),
            Content::Wide(hash) => hash.len(),
            Content::Prefixes(prefixes) => prefixes.len(),
            Content::Prefixes6(prefixes) => prefixes.len(),
        }
    }

    /// Whether it is new.
    pub fn insert(&mut self, item: Item) -> Result<bool, Error> {
        let home = &self.home;
        match (&mut self.content, item) {
            (Content::Bitmap(bitmap), Item::Number(port)) => Ok(bitmap.insert(home, port as u16)),
            (Content::Hash(hash), Item::Number(key)) => hash.insert(home, key),
            (Content::Wide(hash), Item::Wide(key)) => hash.insert(home, key),
            (Content::Prefixes(prefixes), Item::Prefix(prefix)) => prefixes.insert(home, prefix),
            (Content::Prefixes6(prefixes), Item::Prefix6(prefix)) => prefixes.insert(home, prefix),
            _ => unreachable!("{OTHER_KIND}"),
        }
    }

    /// Whether it was there.
    pub fn remove(&mut self, item: Item) -> Result<bool, Error> {
        let home = &self.home;
        match (&mut self.content, item) {
            (Content::Bitmap(bitmap), Item::Number(port)) => Ok(bitmap.remove(home, port as u16)),
            (Content::Hash(hash), Item::Number(key)) => Ok(hash.remove(home, key)),
            (Content::Wide(hash), Item::Wide(key)) => Ok(hash.remove(home, key)),
            (Content::Prefixes(prefixes), Item::Prefix(prefix)) => prefixes.remove(home, prefix),
            (Content::Prefixes6(prefixes), Item::Prefix6(prefix)) => prefixes.remove(home, prefix),
            _ => unreachable!("{OTHER_KIND}"),
        }
    }

    #[must_use]
    pub fn contains(&self, item: Item) -> bool {
        let home = &self.home;
        match (&self.content, item) {
            (Content::Bitmap(_), Item::Number(port)) => bitmap::contains(home.words(), port as u16),
            (Content::Hash(hash), Item::Number(key)) => hash.contains(home, key),
            (Content::Wide(hash), Item::Wide(key)) => hash.contains(home, key),
            (Content::Prefixes(prefixes), Item::Prefix(prefix)) => prefixes.contains(prefix),
            (Content::Prefixes6(prefixes), Item::Prefix6(prefix)) => prefixes.contains(prefix),
            _ => unreachable!("{OTHER_KIND}"),
        }
    }

    /// The longest network with `address`.
    #[must_use]
    pub fn longest(&self, address: u128) -> Option<Item> {
        match &self.content {
            Content::Prefixes(prefixes) => prefixes.longest(address as u32).map(Item::Prefix),
            Content::Prefixes6(prefixes) => prefixes.longest(address).map(Item::Prefix6),
            _ => None,
        }
    }

    /// Adds all of `items`, or, if they do not fit, none.
    pub fn extend(&mut self, items: &Items) -> Result<(), Error> {
        let home = &self.home;
        match (&mut self.content, items) {
            (Content::Bitmap(bitmap), Items::Numbers(ports)) => {
                for &port in ports {
                    bitmap.insert(home, port as u16);
                }
            }
            (Content::Hash(hash), Items::Numbers(keys)) => drop(hash.extend(home, keys)?),
            (Content::Wide(hash), Items::Wide(keys)) => drop(hash.extend(home, keys)?),
            (Content::Prefixes(all), Items::Prefixes(new)) => drop(all.extend(home, new)?),
            (Content::Prefixes6(all), Items::Prefixes6(new)) => drop(all.extend(home, new)?),
            _ => unreachable!("{OTHER_KIND}"),
        }
        Ok(())
    }

    /// Removes those of `items` that are there.
    pub fn subtract(&mut self, items: &Items) -> Result<(), Error> {
        let home = &self.home;
        match (&mut self.content, items) {
            (Content::Prefixes(all), Items::Prefixes(old)) => drop(all.subtract(home, old)?),
            (Content::Prefixes6(all), Items::Prefixes6(old)) => drop(all.subtract(home, old)?),
            _ => {
                for index in 0..items.len() {
                    self.remove(items.get(index))?;
                }
            }
        }
        Ok(())
    }

    /// Readers see what was there, or `items`, and nothing between.
    pub fn replace(&mut self, items: Items) -> Result<(), Error> {
        let home = &self.home;
        home.be_patient()?;
        match (&mut self.content, items) {
            (Content::Bitmap(bitmap), Items::Numbers(ports)) => {
                bitmap.replace(home, ports.into_iter().map(|port| port as u16))
            }
            (Content::Hash(hash), Items::Numbers(keys)) => hash.replace(home, &distinct(keys)),
            (Content::Wide(hash), Items::Wide(keys)) => hash.replace(home, &distinct(keys)),
            (Content::Prefixes(all), Items::Prefixes(new)) => all.replace(home, new),
            (Content::Prefixes6(all), Items::Prefixes6(new)) => all.replace(home, new),
            _ => unreachable!("{OTHER_KIND}"),
        }
    }

    /// Becomes the set of all keys in `ranges`, which are inclusive, ascending and disjoint. Nothing is to be added to it.
    pub fn fix(&mut self, ranges: &[(u128, u128)]) -> Result<(), Error> {
        match &mut self.content {
            Content::Prefixes(prefixes) => prefixes.fix(&self.home, &narrow(ranges)),
            Content::Prefixes6(prefixes) => prefixes.fix(&self.home, ranges),
            Content::Wide(hash) => {
                let keys: Vec<_> = ranges.iter().flat_map(|&(first, last)| first..=last).collect();
                hash.replace(&self.home, &keys)
            }
            _ => self.replace(Items::Numbers(
                ranges
                    .iter()
                    .flat_map(|&(first, last)| first as u64..=last as u64)
                    .collect(),
            )),
        }
    }

    /// All elements, ascending.
    #[must_use]
    pub fn items(&self) -> Items {
        let home = &self.home;
        match &self.content {
            Content::Bitmap(bitmap) => Items::Numbers(bitmap.elements(home)),
            Content::Hash(hash) => Items::Numbers(distinct(hash.elements(home))),
            Content::Wide(hash) => Items::Wide(distinct(hash.elements(home))),
            Content::Prefixes(prefixes) => Items::Prefixes(prefixes.elements()),
            Content::Prefixes6(prefixes) => Items::Prefixes6(prefixes.elements()),
        }
    }

    /// Moves to `memory`, which is all zeros. Where it was is read no longer.
    pub fn rehome(&mut self, memory: Box<dyn Memory>) {
        self.home.rehome(memory);
    }
}

const OTHER_KIND: &str = "items of another kind than the set's";

/// Sorted.
fn distinct<K: Ord>(mut keys: Vec<K>) -> Vec<K> {
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn narrow<A: Address>(ranges: &[(u128, u128)]) -> Vec<(A, A)> {
    let number = |&(first, last): &(u128, u128)| (A::from_number(first), A::from_number(last));
    ranges.iter().map(number).collect()
}
