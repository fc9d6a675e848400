// SPDX-License-Identifier: Apache-2.0
//! What a set is, and where in its memory things are. A test compares this with `offramp/emit/sets/layout.py`.
//!
//! The memory is words of 64 bits, little-endian. The first 8 are the header: word 0 says what is current, word 1
//! counts grace periods.
//!
//! ```text
//! bitmap   header, 2 halves: u64[1024]                                            word 0 = the current half
//! hash     header, 2 halves: u64 seeds[2], u64 _[6], u64 slots[S + 32], entries   word 0 = the current half
//! ranges   header, nodes                                                          word 0 = height << 32 | root's node
//! ```

use crate::structure::{Kind, Structure};

/// Words before the first half or node, and before the slots of a half.
pub const HEADER: usize = 8;
/// The header word that counts grace periods, for readers in other processes.
pub const GRACES: usize = 1;

/// The verifier follows an address in a map's value this far (`BPF_MAX_VAR_OFF`).
pub const MAX_BYTES: usize = 1 << 29;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Ip,
    Ip6,
    Port,
    Ether,
}

impl Family {
    /// The bits of an element.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Ip => 32,
            Self::Ip6 => 128,
            Self::Port => 16,
            Self::Ether => 48,
        }
    }
}

/// The kind of a set and its capacity determine the layout.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    kind: &'static Kind,
    capacity: usize,
}

impl Shape {
    /// `None` if there is no such set, or its memory would be larger than [`MAX_BYTES`].
    #[must_use]
    pub fn new(structure: Structure, family: Family, capacity: usize) -> Option<Self> {
        let kind = structure.kind(family)?;
        let shape = Self { kind, capacity };
        ((kind.fits)(capacity) && shape.bytes() <= MAX_BYTES).then_some(shape)
    }

    pub(crate) fn kind(self) -> &'static Kind {
        self.kind
    }

    #[must_use]
    pub fn structure(self) -> Structure {
        self.kind.structure
    }

    #[must_use]
    pub fn family(self) -> Family {
        self.kind.family
    }

    #[must_use]
    pub fn capacity(self) -> usize {
        self.capacity
    }

    /// Whether the elements are networks; an address is then a network of one.
    #[must_use]
    pub fn has_networks(self) -> bool {
        self.kind.networks
    }

    /// The words of its memory.
    #[must_use]
    pub fn words(self) -> usize {
        (self.kind.words)(self.capacity)
    }

    /// The bytes of its memory.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.words() * 8
    }
}
