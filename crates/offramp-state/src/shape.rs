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

use crate::address::Address;
use crate::item::{Family, Item, Items, Wrong};
use crate::region::MAX_BYTES;
use crate::structure::{Kind, Structure};

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

impl Items {
    /// An empty list for a set of this shape.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        (shape.kind().items)()
    }
}

/// The number `value` as an element; for a network, `length` is its prefix length.
#[inline]
pub fn from_number(shape: Shape, value: u128, length: Option<u8>) -> Result<Item, Wrong> {
    let bits = shape.family().bits();
    if bits < 128 && value >> bits != 0 {
        return Err(Wrong::Number);
    }
    if !shape.has_networks() {
        return match length {
            Some(length) if length != bits => Err(Wrong::Network),
            _ => Ok(value.into()),
        };
    }
    let length = length.unwrap_or(bits);
    if length > bits {
        return Err(Wrong::Length);
    }
    let network = value.masked(128 - (bits - length));
    if network != value {
        return Err(Wrong::HostBits(network, length));
    }
    Ok(Item {
        value,
        length: Some(length),
    })
}
