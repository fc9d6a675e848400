// SPDX-License-Identifier: Apache-2.0
//! The nodes of a tree: where their numbers are, and how a key is found in them, as compiled code finds it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::address::Address;
use crate::region::HEADER;

/// Elements of a node.
pub const FANOUT: usize = 32;
/// How full the nodes of a tree are at least, in the sum for the memory's size.
const FILL: usize = FANOUT / 2;
/// How many more nodes a tree has, so that updates seldom wait.
const SLACK: usize = 4096;

/// How many nodes a tree has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLayout {
    /// How many nodes a tree of half-full nodes needs.
    pub least: usize,
    /// How many nodes may be in use before the tree is built anew.
    pub most: usize,
    pub nodes: usize,
    /// The most levels above the leaves.
    pub height: usize,
}

impl TreeLayout {
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        let mut level = if capacity > FILL { capacity.div_ceil(FILL) } else { 1 };
        let (mut least, mut height) = (level, 0);
        while level > 1 {
            level = level.div_ceil(FILL);
            least += level;
            height += 1;
        }
        let slack = if 4 * least + 64 < SLACK { 4 * least + 64 } else { SLACK };
        Self {
            least,
            most: least + slack / 2,
            nodes: 2 * least + slack,
            height,
        }
    }

    /// The words of a tree with this many nodes.
    #[must_use]
    pub const fn words(self, node: usize) -> usize {
        HEADER + self.nodes * node
    }
}

// Code outside of this crate knows the layout (offramp/emit/sets/): these sums are part of it.
const _: () = {
    assert!(8 * TreeLayout::new(1).words(u32::NODE) == 64 + 256 * (2 + 68));
    assert!(8 * TreeLayout::new(1).words(u128::NODE) == 64 + 1024 * (2 + 68));
    assert!(TreeLayout::new(1_000_000).least == 62_500 + 3907 + 245 + 16 + 1);
    assert!(TreeLayout::new(1_000_000).height == 4);
    assert!(TreeLayout::new(16).height == 0 && TreeLayout::new(17).height == 1);
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    First,
    Last,
}

/// An address in the form that nodes hold.
pub trait Packed: Address {
    /// Words of a node.
    const NODE: usize;
    /// The number at `place` of the first or second half of a node.
    fn first(node: &[AtomicU64], place: usize) -> Self;
    fn last(node: &[AtomicU64], place: usize) -> Self;
    fn child(node: &[AtomicU64], place: usize) -> u32;
    fn write(node: &[AtomicU64], part: Part, numbers: impl Fn(usize) -> Self);
    fn write_children(node: &[AtomicU64], children: impl Fn(usize) -> u32);
    /// Replaces a child, and makes what is below it visible as well.
    fn replace_child(node: &[AtomicU64], place: usize, child: u32);
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

impl Packed for u32 {
    const NODE: usize = FANOUT;

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
}

impl Packed for u128 {
    const NODE: usize = 4 * FANOUT;

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
}

/// A node by its number. Its number fits in 32 bits: a node has at least 256 bytes, the memory at most 2**29. A reader
/// in a forked child may find a wrong number where memory was reused; it then gets another node.
pub fn node<A: Packed>(words: &[AtomicU64], number: u32) -> &[AtomicU64] {
    let nodes = &words[HEADER..];
    let last = nodes.len() / A::NODE - 1;
    &nodes[last.min(number as usize) * A::NODE..][..A::NODE]
}

/// The last place whose first address is not after `key`; else the first place.
pub fn search<A: Packed>(node: &[AtomicU64], key: A) -> usize {
    let mut place = 0;
    for step in [16, 8, 4, 2, 1] {
        if A::first(node, place + step) <= key {
            place += step;
        }
    }
    place
}

fn root_of(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// The range that `key` is in, as compiled code finds it.
#[must_use]
pub fn find<A: Packed>(words: &[AtomicU64], key: A) -> Option<(A, A)> {
    let (height, mut number) = root_of(words[0].load(Ordering::Acquire));
    for _ in 0..height {
        let inner = node::<A>(words, number);
        number = A::child(inner, search(inner, key));
    }
    let leaf = node::<A>(words, number);
    let place = search(leaf, key);
    let (first, last) = (A::first(leaf, place), A::last(leaf, place));
    (first <= key && key <= last).then_some((first, last))
}
