// SPDX-License-Identifier: Apache-2.0
//! Ports: one bit each. Two halves, so that all of them can change at once.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;
use crate::region::Home;
use crate::shape::{BITMAP, HEADER};

#[derive(Default)]
pub struct Bitmap {
    current: usize,
    len: usize,
    /// Whether the half that is not current may still be read.
    watched: bool,
}

/// Whether the bit of `port` is set, as compiled code finds out.
#[must_use]
pub fn contains(words: &[AtomicU64], port: u16) -> bool {
    let half = HEADER + (words[0].load(Ordering::Acquire) & 1) as usize * BITMAP;
    words[half + usize::from(port >> 6)].load(Ordering::Relaxed) >> (port & 63) & 1 == 1
}

impl Bitmap {
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn half(home: &Home, half: usize) -> &[AtomicU64] {
        &home.words()[HEADER + half * BITMAP..][..BITMAP]
    }

    /// Whether it is new.
    pub fn insert(&mut self, home: &Home, port: u16) -> bool {
        let bit = 1 << (port & 63);
        let word = &Self::half(home, self.current)[usize::from(port >> 6)];
        let is_new = word.fetch_or(bit, Ordering::Relaxed) & bit == 0;
        self.len += usize::from(is_new);
        is_new
    }

    /// Whether it was there.
    pub fn remove(&mut self, home: &Home, port: u16) -> bool {
        let bit = 1 << (port & 63);
        let word = &Self::half(home, self.current)[usize::from(port >> 6)];
        let was_there = word.fetch_and(!bit, Ordering::Relaxed) & bit != 0;
        self.len -= usize::from(was_there);
        was_there
    }

    /// All at once.
    pub fn replace(&mut self, home: &Home, ports: impl Iterator<Item = u16>) -> Result<(), Error> {
        let mut bits = [0u64; BITMAP];
        for port in ports {
            bits[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        if self.watched {
            home.wait()?;
        }
        for (word, &value) in Self::half(home, 1 - self.current).iter().zip(&bits) {
            word.store(value, Ordering::Relaxed);
        }
        self.current = 1 - self.current;
        home.publish(self.current as u64);
        self.watched = true;
        self.len = bits.iter().map(|word| word.count_ones() as usize).sum();
        Ok(())
    }

    /// Ascending.
    #[must_use]
    pub fn elements(&self, home: &Home) -> Vec<u64> {
        let mut all = Vec::with_capacity(self.len);
        for (number, word) in Self::half(home, self.current).iter().enumerate() {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != 0 {
                all.push((64 * number) as u64 + u64::from(bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
        all
    }
}
