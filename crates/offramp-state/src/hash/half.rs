// SPDX-License-Identifier: Apache-2.0
//! One half of a hash's memory: its seeds, slots and entries, and how a key is found in them, as compiled code does it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::item::Key;
use crate::shape::HEADER;

/// How many slots an element may be found in, from the first one on.
pub const WINDOW: usize = 32;

/// Where things are in one half of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLayout {
    /// Slots that an element can begin its search at; a power of two.
    pub slots: usize,
    /// Keys of 128 bits that can be kept; 0 where the slots hold the keys.
    pub entries: usize,
    /// Words of a half.
    pub half: usize,
}

impl HashLayout {
    #[must_use]
    pub const fn new(capacity: usize, wide: bool) -> Self {
        let least = if capacity < 16 { 64 } else { 4 * capacity };
        let slots = least.next_power_of_two();
        // A quarter more than can be in use at once: those that were removed wait for the next grace period.
        let entries = if wide { capacity + capacity / 4 + 64 } else { 0 };
        let half = HEADER + slots + WINDOW + 2 * entries;
        Self { slots, entries, half }
    }

    /// Words of both halves.
    #[must_use]
    pub const fn words(self) -> usize {
        HEADER + 2 * self.half
    }

    /// The slot of a mixed key is its highest bits.
    #[must_use]
    pub const fn shift(self) -> u32 {
        64 - self.slots.trailing_zeros()
    }
}

// The layout is known outside of this crate (offramp/emit/sets/): these sums are part of it.
const _: () = {
    assert!(8 * HashLayout::new(1, false).words() == 64 + 2 * (64 + 8 * (64 + 32)));
    assert!(8 * HashLayout::new(1000, true).words() == 64 + 2 * (64 + 8 * (4096 + 32) + 16 * 1314));
};

pub const FREE: u64 = 0;
pub const REMOVED: u64 = 1;
pub const TAKEN: u64 = 1 << 63;

/// What can be looked up. Two sizes: numbers that fit in a slot, and those that don't.
pub trait Hashed: Key {
    const WIDE: bool;
    /// Evenly spread; the highest bits choose the slot.
    fn mix(self, seed0: u64, seed1: u64) -> u64;
    /// What a slot holds.
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

    /// The slot that `key` is in, or else the first that it could be put in, if there is one.
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

    pub fn has<K: Hashed>(self, key: K) -> bool {
        self.search(key, self.mix(key)).is_ok()
    }

    pub fn put<K: Hashed>(self, key: K, mixed: u64, slot: usize, entry: u32) {
        key.write(entry, self.entries);
        // Release: the entry first.
        self.slots[slot].store(key.slot(mixed, entry), Ordering::Release);
    }

    /// Puts in all of `keys`, which are distinct, into nothing but free slots. False if one finds no place.
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
