// SPDX-License-Identifier: Apache-2.0
//! A set of addresses: a table with open addressing. A key, mixed, points to a slot; it is in one of 32 from there.
//!
//! ```text
//! half     seeds[2], slots, entries
//! slot     0: free, ends the search    1: was removed, go on    else: an element
//!          keys up to 48 bits   1 << 63 | key
//!          keys of 128 bits     1 << 63 | fingerprint << 32 | entry; the entry has the key
//! ```
//!
//! A reader never misses a member that stays: no slot between a member's first slot and its own is ever free, and
//! members do not move within a half. One store puts a new member into a slot that is free or whose member was removed;
//! its entry is written before (release). Removing a member leaves 1. If the next slot is free, no search goes on from
//! here to a member; so the slot becomes free as well, and so do slots with 1 before it. If there is no slot for a new
//! member, all members move to the other half, with other seeds, and that half becomes current.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::container::Container;
use crate::error::Error;
use crate::item::Item;
use crate::region::Home;

mod half;

use half::{FREE, Half, HashLayout, Hashed, REMOVED, TAKEN};

/// What is known of the half that is not current.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spare {
    /// All zeros.
    New,
    /// Nobody reads it any more.
    Used,
    /// It was current at some time since the last grace period.
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
    /// Entries that can be written; those removed since the last grace period; the first entry never used.
    free: Vec<u32>,
    retired: Vec<u32>,
    unused: u32,
    /// It decides the order in memory, and nothing else.
    random: u64,
    keys: PhantomData<K>,
}

impl<K: Hashed> Hash<K> {
    fn half<'a>(&self, home: &'a Home, number: usize) -> Half<'a> {
        Half::new(home.words(), number, self.layout)
    }

    fn current<'a>(&self, home: &'a Home) -> Half<'a> {
        self.half(home, self.current)
    }

    /// Fills the other half with `keys`, which are distinct, and makes it current.
    fn rebuild(&mut self, home: &Home, keys: &[K]) -> Result<(), Error> {
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

    /// The elements, in no order.
    fn elements(&self, home: &Home) -> Result<Vec<K>, Error> {
        let half = self.current(home);
        let mut all = Vec::new();
        all.try_reserve_exact(self.len).map_err(|_| Error::Memory)?;
        for slot in half.slots {
            let content = slot.load(Ordering::Relaxed);
            if content & TAKEN != 0 {
                all.push(K::read(content, half.entries));
            }
        }
        Ok(all)
    }

    /// An entry that nobody reads. There always is one, because at least a quarter of the capacity is unused, free or
    /// retired.
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

    /// SplitMix64 (Steele, Lea, Flood 2014). A factor has to be odd; otherwise it would lose bits.
    fn seeds(&mut self) -> [u64; 2] {
        [0, 1].map(|odd| {
            self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (self.random ^ self.random >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ z >> 31 | odd
        })
    }
}

impl<K: Hashed> Container for Hash<K> {
    type Key = K;

    fn words(capacity: usize) -> usize {
        HashLayout::new(capacity, K::WIDE).words()
    }

    fn new(capacity: usize, home: &Home) -> Self {
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
            random: RandomState::new().hash_one(0),
            keys: PhantomData,
        };
        let seeds = hash.seeds();
        hash.half(home, 0).fill::<K>(&[], seeds);
        hash
    }

    fn matches(words: &[AtomicU64], capacity: usize, key: u128) -> bool {
        let current = words[0].load(Ordering::Acquire) & 1;
        let half = Half::new(words, current as usize, HashLayout::new(capacity, K::WIDE));
        half.has(K::from(Item::from(key)))
    }

    fn len(&self) -> usize {
        self.len
    }

    fn insert(&mut self, home: &Home, key: K) -> Result<bool, Error> {
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
                _ => self.rebuild(home, &self.elements(home)?)?, // and try again there
            }
        }
    }

    fn remove(&mut self, home: &Home, key: K) -> Result<bool, Error> {
        let half = self.current(home);
        let Ok(mut slot) = half.search(key, half.mix(key)) else {
            return Ok(false);
        };
        if K::WIDE {
            self.retired.push(half.slots[slot].load(Ordering::Relaxed) as u32);
        }
        half.slots[slot].store(REMOVED, Ordering::Relaxed);
        self.removed += 1;
        self.len -= 1;
        // No member's search passes a slot whose successor is free.
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
        Ok(true)
    }

    fn contains(&self, home: &Home, key: K) -> bool {
        self.current(home).has(key)
    }

    fn extend(&mut self, home: &Home, keys: &[K]) -> Result<(), Error> {
        if self.len + keys.len() > self.capacity {
            let new = distinct(keys.iter().copied().filter(|&key| !self.contains(home, key)).collect());
            if self.len + new.len() > self.capacity {
                return Err(self.full(self.len + new.len()));
            }
        }
        keys.iter().try_for_each(|&key| self.insert(home, key).map(drop))
    }

    fn replace(&mut self, home: &Home, keys: Vec<K>) -> Result<(), Error> {
        self.rebuild(home, &distinct(keys))
    }

    fn keys(&self, home: &Home) -> Result<Vec<K>, Error> {
        self.elements(home).map(distinct)
    }
}

/// The keys, sorted and without duplicates.
fn distinct<K: Ord>(mut keys: Vec<K>) -> Vec<K> {
    keys.sort_unstable();
    keys.dedup();
    keys
}
