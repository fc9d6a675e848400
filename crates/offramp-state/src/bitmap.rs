// SPDX-License-Identifier: Apache-2.0
//! A set of ports: one bit each. There are two halves, so that all bits can change at once.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::container::Container;
use crate::error::Error;
use crate::region::{HEADER, Home};

/// How many numbers a port can have.
const PORTS: usize = 1 << 16;
/// Words in one half.
const HALF: usize = PORTS / 64;

#[derive(Default)]
pub struct Bitmap {
    current: usize,
    len: usize,
    /// Whether readers may still be in the half that is not current.
    watched: bool,
}

fn half(words: &[AtomicU64], number: usize) -> &[AtomicU64] {
    &words[HEADER + number * HALF..][..HALF]
}

/// The word that holds `port`, and the port's bit in it.
fn place(port: u64) -> (usize, u64) {
    (usize::from(port as u16 >> 6), 1 << (port & 63))
}

fn has(half: &[AtomicU64], port: u64) -> bool {
    let (word, bit) = place(port);
    half[word].load(Ordering::Relaxed) & bit != 0
}

impl Bitmap {
    fn current<'a>(&self, home: &'a Home) -> &'a [AtomicU64] {
        half(home.words(), self.current)
    }
}

impl Container for Bitmap {
    type Key = u64;

    fn fits(capacity: usize) -> bool {
        capacity == PORTS
    }

    fn words(_: usize) -> usize {
        HEADER + 2 * HALF
    }

    fn new(_: usize, _: &Home) -> Self {
        Self::default()
    }

    fn matches(words: &[AtomicU64], _: usize, key: u128) -> bool {
        let current = words[0].load(Ordering::Acquire) & 1;
        u16::try_from(key).is_ok_and(|port| has(half(words, current as usize), port.into()))
    }

    fn len(&self) -> usize {
        self.len
    }

    fn insert(&mut self, home: &Home, port: u64) -> Result<bool, Error> {
        let (word, bit) = place(port);
        let is_new = self.current(home)[word].fetch_or(bit, Ordering::Relaxed) & bit == 0;
        self.len += usize::from(is_new);
        Ok(is_new)
    }

    fn remove(&mut self, home: &Home, port: u64) -> Result<bool, Error> {
        let (word, bit) = place(port);
        let was_there = self.current(home)[word].fetch_and(!bit, Ordering::Relaxed) & bit != 0;
        self.len -= usize::from(was_there);
        Ok(was_there)
    }

    fn contains(&self, home: &Home, port: u64) -> bool {
        has(self.current(home), port)
    }

    fn extend(&mut self, home: &Home, ports: &[u64]) -> Result<(), Error> {
        ports.iter().try_for_each(|&port| self.insert(home, port).map(drop))
    }

    fn replace(&mut self, home: &Home, ports: Vec<u64>) -> Result<(), Error> {
        let mut bits = [0u64; HALF];
        for port in ports {
            let (word, bit) = place(port);
            bits[word] |= bit;
        }
        if self.watched {
            home.wait()?;
        }
        self.current = 1 - self.current;
        for (word, &value) in self.current(home).iter().zip(&bits) {
            word.store(value, Ordering::Relaxed);
        }
        home.publish(self.current as u64);
        self.watched = true;
        self.len = bits.iter().map(|word| word.count_ones() as usize).sum();
        Ok(())
    }

    fn keys(&self, home: &Home) -> Result<Vec<u64>, Error> {
        let mut all = Vec::with_capacity(self.len);
        for (number, word) in self.current(home).iter().enumerate() {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != 0 {
                all.push((64 * number) as u64 + u64::from(bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
        Ok(all)
    }
}

// Code outside of this crate knows the layout (offramp/emit/sets/).
const _: () = assert!(8 * (HEADER + 2 * HALF) == 64 + 2 * 8192);
