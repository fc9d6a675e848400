// SPDX-License-Identifier: Apache-2.0
//! IP addresses as numbers of 32 and 128 bits, and how a tree's nodes hold them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::shape::{FANOUT, NODE, NODE6};

/// An IP address as a number.
pub trait Address: Copy + Ord + Send + Sync + std::fmt::Debug + 'static {
    const BITS: u8;
    const NODE: usize;
    const ZERO: Self;
    const MAX: Self;
    /// The number at `place` of the first or second half of a node.
    fn first(node: &[AtomicU64], place: usize) -> Self;
    fn last(node: &[AtomicU64], place: usize) -> Self;
    fn child(node: &[AtomicU64], place: usize) -> u32;
    fn write(node: &[AtomicU64], part: Part, numbers: impl Fn(usize) -> Self);
    fn write_children(node: &[AtomicU64], children: impl Fn(usize) -> u32);
    /// Makes what is below the child visible as well.
    fn replace_child(node: &[AtomicU64], place: usize, child: u32);
    /// The first `length` bits.
    #[must_use]
    fn masked(self, length: u8) -> Self;
    /// The last address of the network that begins here.
    #[must_use]
    fn end(self, length: u8) -> Self;
    fn common_bits(self, other: Self) -> u8;
    fn next(self) -> Option<Self>;
    fn from_number(number: u128) -> Self;
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    First,
    Last,
}

/// Two numbers of 32 bits in a word, the first one in the lower half.
fn half_word(words: &[AtomicU64], place: usize) -> u32 {
    (words[place / 2].load(Ordering::Relaxed) >> (32 * (place & 1))) as u32
}

fn write_half_words(words: &[AtomicU64], numbers: impl Fn(usize) -> u32) {
    for (number, word) in words.iter().enumerate() {
        let pair = u64::from(numbers(2 * number)) | u64::from(numbers(2 * number + 1)) << 32;
        word.store(pair, Ordering::Relaxed);
    }
}

impl Address for u32 {
    const BITS: u8 = 32;
    const NODE: usize = NODE;
    const ZERO: Self = 0;
    const MAX: Self = Self::MAX;

    fn first(node: &[AtomicU64], place: usize) -> Self {
        half_word(&node[..FANOUT / 2], place)
    }

    fn last(node: &[AtomicU64], place: usize) -> Self {
        half_word(&node[FANOUT / 2..], place)
    }

    fn child(node: &[AtomicU64], place: usize) -> u32 {
        Self::last(node, place)
    }

    fn write(node: &[AtomicU64], part: Part, numbers: impl Fn(usize) -> Self) {
        let (first, last) = node.split_at(FANOUT / 2);
        write_half_words(if part == Part::First { first } else { last }, numbers);
    }

    fn write_children(node: &[AtomicU64], children: impl Fn(usize) -> u32) {
        write_half_words(&node[FANOUT / 2..], children);
    }

    fn replace_child(node: &[AtomicU64], place: usize, child: u32) {
        let word = &node[FANOUT / 2 + place / 2];
        let shift = 32 * (place & 1);
        let other = word.load(Ordering::Relaxed) & !(0xFFFF_FFFF << shift);
        word.store(other | u64::from(child) << shift, Ordering::Release);
    }

    fn masked(self, length: u8) -> Self {
        self & Self::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0)
    }

    fn end(self, length: u8) -> Self {
        self | Self::MAX.checked_shr(length.into()).unwrap_or(0)
    }

    fn common_bits(self, other: Self) -> u8 {
        (self ^ other).leading_zeros() as u8
    }

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn from_number(number: u128) -> Self {
        number as Self
    }
}

impl Address for u128 {
    const BITS: u8 = 128;
    const NODE: usize = NODE6;
    const ZERO: Self = 0;
    const MAX: Self = Self::MAX;

    fn first(node: &[AtomicU64], place: usize) -> Self {
        let [high, low] = [0, FANOUT].map(|from| node[from + place].load(Ordering::Relaxed));
        Self::from(high) << 64 | Self::from(low)
    }

    fn last(node: &[AtomicU64], place: usize) -> Self {
        Self::first(&node[2 * FANOUT..], place)
    }

    fn child(node: &[AtomicU64], place: usize) -> u32 {
        node[2 * FANOUT + place].load(Ordering::Relaxed) as u32
    }

    fn write(node: &[AtomicU64], part: Part, numbers: impl Fn(usize) -> Self) {
        let from = if part == Part::First { 0 } else { 2 * FANOUT };
        for place in 0..FANOUT {
            let number = numbers(place);
            node[from + place].store((number >> 64) as u64, Ordering::Relaxed);
            node[from + FANOUT + place].store(number as u64, Ordering::Relaxed);
        }
    }

    fn write_children(node: &[AtomicU64], children: impl Fn(usize) -> u32) {
        for (place, word) in node[2 * FANOUT..3 * FANOUT].iter().enumerate() {
            word.store(children(place).into(), Ordering::Relaxed);
        }
    }

    fn replace_child(node: &[AtomicU64], place: usize, child: u32) {
        node[2 * FANOUT + place].store(child.into(), Ordering::Release);
    }

    fn masked(self, length: u8) -> Self {
        self & Self::MAX.checked_shl(u32::from(128 - length)).unwrap_or(0)
    }

    fn end(self, length: u8) -> Self {
        self | Self::MAX.checked_shr(length.into()).unwrap_or(0)
    }

    fn common_bits(self, other: Self) -> u8 {
        (self ^ other).leading_zeros() as u8
    }

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn from_number(number: u128) -> Self {
        number
    }
}
