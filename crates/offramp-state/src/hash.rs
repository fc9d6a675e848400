// SPDX-License-Identifier: Apache-2.0
//! Addresses, in a table with open addressing: an element is in one of the 32 slots from where its key, mixed, points to.
//!
//! ```text
//! half     seeds[2], slots, entries
//! slot     0: free, ends the search    1: was removed, go on    else: an element
//!          keys up to 48 bits   1 << 63 | key
//!          keys of 128 bits     1 << 63 | fingerprint << 32 | entry; the entry has the key
//! ```
//!
//! A reader never misses a member that stays: no slot between a member's first and its own is ever free, and members do not move
//! within a half. A new one takes a slot that is free, or was removed, by one store; an entry is written before (release). A removed
//! one leaves 1. If the slot behind is free, no search goes on from here to a member, so that it becomes free as well, and those of 1
//! before it. If there is no slot for a new one, all move to the other half, with other seeds, which then becomes current.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;
use crate::region::Home;
use crate::shape::{HEADER, HashLayout, WINDOW};

const FREE: u64 = 0;
const REMOVED: u64 = 1;
const TAKEN: u64 = 1 << 63;

/// What can be looked up. Two sizes: numbers that fit in a slot, and those that don't.
pub trait Key: Copy + Ord + Send + 'static {
    const WIDE: bool;
    /// Evenly spread; the highest bits choose the slot.
    fn mix(self, seed0: u64, seed1: u64) -> u64;
    /// What a slot holds.
    fn slot(self, mixed: u64, entry: u32) -> u64;
    /// The key in a slot.
    fn read(slot: u64, entries: &[AtomicU64]) -> Self;
    fn write(self, entry: u32, entries: &[AtomicU64]);
}

impl Key for u64 {
    const WIDE: bool = false;

    fn mix(self, seed0: u64, seed1: u64) -> u64 {
        let x = (self ^ seed0).wrapping_mul(seed1);
        (x ^ x >> 32).wrapping_mul(seed1)
    }

    fn slot(self, _: u64, _: u32) -> u64 {
        TAKEN | self
    }

    fn read(slot: u64, _: &[AtomicU64]) -> Self {
        slot & !TAKEN
    }

    fn write(self, _: u32, _: &[AtomicU64]) {}
}

impl Key for u128 {
    const WIDE: bool = true;

    fn mix(self, seed0: u64, seed1: u64) -> u64 {
        let (high, low) = ((self >> 64) as u64, self as u64);
        let x = (high ^ seed0).wrapping_mul(seed1);
        let x = (x ^ x >> 32 ^ low).wrapping_mul(seed1);
        (x ^ x >> 32).wrapping_mul(seed1)
    }

    fn slot(self, mixed: u64, entry: u32) -> u64 {
        TAKEN | mixed << 32 | u64::from(entry)
    }

    fn read(slot: u64, entries: &[AtomicU64]) -> Self {
        let place = 2 * (slot as u32) as usize;
        let high = entries[place].load(Ordering::Relaxed);
        let low = entries[place + 1].load(Ordering::Relaxed);
        u128::from(high) << 64 | u128::from(low)
    }

    fn write(self, entry: u32, entries: &[AtomicU64]) {
        let place = 2 * entry as usize;
        entries[place].store((self >> 64) as u64, Ordering::Relaxed);
        entries[place + 1].store(self as u64, Ordering::Relaxed);
    }
}

/// One half of the memory.
#[derive(Clone, Copy)]
struct Half<'a> {
    seeds: &'a [AtomicU64],
    slots: &'a [AtomicU64],
    entries: &'a [AtomicU64],
    shift: u32,
}

impl<'a> Half<'a> {
    fn new(words: &'a [AtomicU64], number: usize, layout: HashLayout) -> Self {
        let half = &words[HEADER + number * layout.half..][..layout.half];
        let (seeds, rest) = half.split_at(HEADER);
        let (slots, entries) = rest.split_at(layout.slots + WINDOW);
        Self {
            seeds,
            slots,
            entries,
            shift: layout.shift(),
        }
    }

    fn mix<K: Key>(self, key: K) -> u64 {
        let [seed0, seed1] = [0, 1].map(|place| self.seeds[place].load(Ordering::Relaxed));
        key.mix(seed0, seed1)
    }

    /// The slot that `key` is in, or else the first that it could be put in, if there is one.
    fn search<K: Key>(self, key: K, mixed: u64) -> Result<usize, Option<usize>> {
        let first = (mixed >> self.shift) as usize;
        let wanted = key.slot(mixed, 0);
        let is_key = |found: u64| {
            if K::WIDE {
                found >> 32 == wanted >> 32 && K::read(found, self.entries) == key
            } else {
                found == wanted
            }
        };
        let mut place = None;
        for (slot, content) in (first..).zip(&self.slots[first..first + WINDOW]) {
            // Acquire: pairs with the store in `put`, so that the entry is there.
            match content.load(Ordering::Acquire) {
                FREE => return Err(place.or(Some(slot))),
                REMOVED => place = place.or(Some(slot)),
                found if is_key(found) => return Ok(slot),
                _ => {}
            }
        }
        Err(place)
    }

    fn put<K: Key>(self, key: K, mixed: u64, slot: usize, entry: u32) {
        key.write(entry, self.entries);
        // Release: the entry first.
        self.slots[slot].store(key.slot(mixed, entry), Ordering::Release);
    }

    /// Puts in all of `keys`, which are distinct, into nothing but free slots. False if one finds no place.
    fn fill<K: Key>(self, keys: &[K], seeds: [u64; 2]) -> bool {
        for (place, seed) in self.seeds.iter().zip(seeds) {
            place.store(seed, Ordering::Relaxed);
        }
        keys.iter().zip(0..).all(|(&key, entry)| {
            let mixed = self.mix(key);
            let first = (mixed >> self.shift) as usize;
            let window = &self.slots[first..first + WINDOW];
            let free = window.iter().position(|slot| slot.load(Ordering::Relaxed) == FREE);
            free.inspect(|place| self.put(key, mixed, first + place, entry))
                .is_some()
        })
    }

    fn empty(self) {
        self.slots.iter().for_each(|slot| slot.store(FREE, Ordering::Relaxed));
    }
}

/// What is known of the half that is not current.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spare {
    /// All zeros.
    New,
    /// Nobody reads it.
    Used,
    /// It was current after the last grace period.
    Watched,
}

pub struct Hash<K> {
    layout: HashLayout,
    capacity: usize,
    current: usize,
    len: usize,
    /// Slots of the current half that hold `REMOVED`.
    removed: usize,
    spare: Spare,
    /// Entries that can be written; those removed since the last grace period; the first that was never used.
    free: Vec<u32>,
    retired: Vec<u32>,
    unused: u32,
    random: u64,
    keys: PhantomData<K>,
}

/// Whether `key` is in the current half, as compiled code finds out.
#[must_use]
pub fn contains<K: Key>(words: &[AtomicU64], layout: HashLayout, key: K) -> bool {
    let half = Half::new(words, (words[0].load(Ordering::Acquire) & 1) as usize, layout);
    half.search(key, half.mix(key)).is_ok()
}

impl<K: Key> Hash<K> {
    /// `seed` makes the order in memory, and nothing else.
    #[must_use]
    pub fn new(capacity: usize, seed: u64, home: &Home) -> Self {
        let mut hash = Self {
            layout: HashLayout::new(capacity, K::WIDE),
            capacity,
            current: 0,
            len: 0,
            removed: 0,
            spare: Spare::New,
            free: Vec::new(),
            retired: Vec::new(),
            unused: 0,
            random: seed,
            keys: PhantomData,
        };
        let seeds = hash.seeds();
        hash.half(home, 0).fill::<K>(&[], seeds);
        hash
    }

    #[must_use]
    pub fn layout(&self) -> HashLayout {
        self.layout
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn half<'a>(&self, home: &'a Home, number: usize) -> Half<'a> {
        Half::new(home.words(), number, self.layout)
    }

    fn current<'a>(&self, home: &'a Home) -> Half<'a> {
        self.half(home, self.current)
    }

    #[must_use]
    pub fn contains(&self, home: &Home, key: K) -> bool {
        let half = self.current(home);
        half.search(key, half.mix(key)).is_ok()
    }

    /// Whether it is new.
    pub fn insert(&mut self, home: &Home, key: K) -> Result<bool, Error> {
        loop {
            let half = self.current(home);
            let mixed = half.mix(key);
            let Err(place) = half.search(key, mixed) else {
                return Ok(false);
            };
            if self.len == self.capacity {
                return Err(self.full(self.len + 1));
            }
            let is_crowded = self.len + self.removed > self.layout.slots / 2;
            match place {
                Some(slot) if !is_crowded => {
                    let reused = half.slots[slot].load(Ordering::Relaxed) == REMOVED;
                    let entry = self.take_entry(home)?;
                    half.put(key, mixed, slot, entry);
                    self.removed -= usize::from(reused);
                    self.len += 1;
                    return Ok(true);
                }
                _ => self.replace(home, &self.elements(home))?, // and try again there
            }
        }
    }

    /// Whether it was there.
    pub fn remove(&mut self, home: &Home, key: K) -> bool {
        let half = self.current(home);
        let Ok(mut slot) = half.search(key, half.mix(key)) else {
            return false;
        };
        if K::WIDE {
            self.retired.push(half.slots[slot].load(Ordering::Relaxed) as u32);
        }
        half.slots[slot].store(REMOVED, Ordering::Relaxed);
        self.removed += 1;
        self.len -= 1;
        // No member's search goes through a slot whose successor is free.
        if half.slots[slot + 1].load(Ordering::Relaxed) == FREE {
            while half.slots[slot].load(Ordering::Relaxed) == REMOVED {
                half.slots[slot].store(FREE, Ordering::Relaxed);
                self.removed -= 1;
                match slot.checked_sub(1) {
                    Some(before) => slot = before,
                    None => break,
                }
            }
        }
        true
    }

    /// Adds `keys`, all of them or, if they do not fit, none. Returns how many are new.
    pub fn extend(&mut self, home: &Home, keys: &[K]) -> Result<usize, Error> {
        if self.len + keys.len() > self.capacity {
            let mut new: Vec<_> = keys.iter().copied().filter(|&key| !self.contains(home, key)).collect();
            new.sort_unstable();
            new.dedup();
            if self.len + new.len() > self.capacity {
                return Err(self.full(self.len + new.len()));
            }
        }
        let before = self.len;
        for &key in keys {
            self.insert(home, key)?;
        }
        Ok(self.len - before)
    }

    /// All at once. `keys` are distinct.
    pub fn replace(&mut self, home: &Home, keys: &[K]) -> Result<(), Error> {
        if keys.len() > self.capacity {
            return Err(self.full(keys.len()));
        }
        home.be_patient()?;
        let next = 1 - self.current;
        if self.spare == Spare::Watched {
            home.wait()?;
            self.spare = Spare::Used;
        }
        if self.spare == Spare::Used {
            self.half(home, next).empty();
        }
        self.spare = Spare::Used;
        loop {
            let seeds = self.seeds();
            if self.half(home, next).fill(keys, seeds) {
                break;
            }
            self.half(home, next).empty();
        }
        home.publish(next as u64);
        self.spare = Spare::Watched;
        self.current = next;
        self.len = keys.len();
        self.removed = 0;
        self.free.clear();
        self.retired.clear();
        self.unused = keys.len() as u32;
        Ok(())
    }

    /// In no order.
    #[must_use]
    pub fn elements(&self, home: &Home) -> Vec<K> {
        let half = self.current(home);
        let mut all = Vec::with_capacity(self.len);
        for slot in half.slots {
            let content = slot.load(Ordering::Relaxed);
            if content & TAKEN != 0 {
                all.push(K::read(content, half.entries));
            }
        }
        all
    }

    /// An entry that nobody reads. There is one, because at least a quarter of the capacity is neither in use nor retired, or retired.
    fn take_entry(&mut self, home: &Home) -> Result<u32, Error> {
        if !K::WIDE {
            return Ok(0);
        }
        if self.free.is_empty() && self.unused as usize == self.layout.entries {
            home.wait()?;
            self.free.append(&mut self.retired);
            if self.spare == Spare::Watched {
                self.spare = Spare::Used;
            }
        }
        Ok(self.free.pop().unwrap_or_else(|| {
            self.unused += 1;
            self.unused - 1
        }))
    }

    fn full(&self, wanted: usize) -> Error {
        Error::Full {
            wanted,
            capacity: self.capacity,
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014). A factor has to be odd, or it would lose bits.
    fn seeds(&mut self) -> [u64; 2] {
        [0, 1].map(|odd| {
            self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (self.random ^ self.random >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ z >> 31 | odd
        })
    }
}
