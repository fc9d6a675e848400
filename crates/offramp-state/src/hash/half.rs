// SPDX-License-Identifier: Apache-2.0
//! One half of a hash's memory: its seeds, slots and entries, and how a key is found, as compiled code finds it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::item::Key;
use crate::region::HEADER;

/// In how many slots an element may be, counted from its first one.
pub const WINDOW: usize = 32;

/// Where things are in one half of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLayout {
    /// Slots at which an element's search can begin; a power of two.
    pub slots: usize,
    /// How many keys of 128 bits can be kept; 0 if the slots hold the keys.
    pub entries: usize,
    /// Words in one half.
    pub half: usize,
}

impl HashLayout {
    #[must_use]
    pub const fn new(capacity: usize, wide: bool) -> Self {
        let least = if capacity < 16 { 64 } else { 4 * capacity };
        let slots = least.next_power_of_two();
        // A quarter more than can be in use at once: removed entries wait for the next grace period.
        let entries = if wide { capacity + capacity / 4 + 64 } else { 0 };
        let half = HEADER + slots + WINDOW + 2 * entries;
        Self { slots, entries, half }
    }

    /// Words in both halves.
    #[must_use]
    pub const fn words(self) -> usize {
        HEADER + 2 * self.half
    }

    /// The highest bits of a mixed key are its slot.
    #[must_use]
    pub const fn shift(self) -> u32 {
        64 - self.slots.trailing_zeros()
    }
}

// Code outside of this crate knows the layout (offramp/emit/sets/); these sums are part of it.
const _: () = {
    assert!(8 * HashLayout::new(1, false).words() == 64 + 2 * (64 + 8 * (64 + 32)));
    assert!(8 * HashLayout::new(1000, true).words() == 64 + 2 * (64 + 8 * (4096 + 32) + 16 * 1314));
};

pub const FREE: u64 = 0;
pub const REMOVED: u64 = 1;
pub const TAKEN: u64 = 1 << 63;

/// What can be looked up. There are two sizes: numbers that fit in a slot, and those that do not.
pub trait Hashed: Key {
    const WIDE: bool;
    /// Spreads keys evenly; the highest bits choose the slot.
    fn mix(self, seed0: u64, seed1: u64) -> u64;
    /// What the slot of this key holds.
    fn slot(self, mixed: u64, entry: u32) -> u64;
    /// The key in a slot.
    fn read(slot: u64, entries: &[AtomicU64]) -> Self;
    fn write(self, entry: u32, entries: &[AtomicU64]);
}

impl Hashed for u64 {
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

impl Hashed for u128 {
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
pub struct Half<'a> {
    seeds: &'a [AtomicU64],
    pub slots: &'a [AtomicU64],
    pub entries: &'a [AtomicU64],
    shift: u32,
}

impl<'a> Half<'a> {
    pub fn new(words: &'a [AtomicU64], number: usize, layout: HashLayout) -> Self {
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

    pub fn mix<K: Hashed>(self, key: K) -> u64 {
        let [seed0, seed1] = [0, 1].map(|place| self.seeds[place].load(Ordering::Relaxed));
        key.mix(seed0, seed1)
    }

    /// The slot that `key` is in; else the first slot that it could be put in, if there is one.
    pub fn search<K: Hashed>(self, key: K, mixed: u64) -> Result<usize, Option<usize>> {
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
            // Acquire: pairs with the store in `put`, so the entry is complete.
            match content.load(Ordering::Acquire) {
                FREE => return Err(place.or(Some(slot))),
                REMOVED => place = place.or(Some(slot)),
                found if is_key(found) => return Ok(slot),
                _ => {}
            }
        }
        Err(place)
    }

    pub fn has<K: Hashed>(self, key: K) -> bool {
        self.search(key, self.mix(key)).is_ok()
    }

    pub fn put<K: Hashed>(self, key: K, mixed: u64, slot: usize, entry: u32) {
        key.write(entry, self.entries);
        // Release: the entry is written first.
        self.slots[slot].store(key.slot(mixed, entry), Ordering::Release);
    }

    /// Puts all of `keys`, which are distinct, into free slots only. False if one finds no place.
    pub fn fill<K: Hashed>(self, keys: &[K], seeds: [u64; 2]) -> bool {
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

    pub fn empty(self) {
        self.slots.iter().for_each(|slot| slot.store(FREE, Ordering::Relaxed));
    }
}
