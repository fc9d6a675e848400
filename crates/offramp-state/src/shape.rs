// SPDX-License-Identifier: Apache-2.0
//! What a set is, and where in its memory things are. `compile/shapes.py` has the same sums; a test compares them.
//!
//! The memory is words of 64 bits, little-endian. The first 8 are the header: word 0 says what is current, word 1 counts grace
//! periods.
//!
//! ```text
//! bitmap   header, 2 halves: u64[1024]                                               word 0 = the current half
//! hash     header, 2 halves: u64 seeds[2], u64 _[6], u64 slots[S + 32], entries      word 0 = the current half
//! ranges   header, nodes                                                             word 0 = height << 32 | node of the root
//! ```

/// Words before the first half or node, and before the slots of a half.
pub const HEADER: usize = 8;
/// Header word that counts grace periods, for readers in other processes.
pub const GRACES: usize = 1;

/// Numbers that a port can have.
pub const PORTS: usize = 1 << 16;
/// Words of one half of a bitmap.
pub const BITMAP: usize = PORTS / 64;

/// How many slots an element may be found in, from the first one on.
pub const WINDOW: usize = 32;

/// Elements of a tree's node.
pub const FANOUT: usize = 32;
/// How full the nodes of a tree are at least, in the sum for its memory.
const FILL: usize = FANOUT / 2;
/// Nodes that a tree has besides, so that updates seldom wait.
const SLACK: usize = 4096;

/// The verifier follows an address in a map's value this far (`BPF_MAX_VAR_OFF`).
pub const MAX_BYTES: usize = 1 << 29;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    Bitmap,
    Hash,
    Ranges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Ip,
    Ip6,
    Port,
    Ether,
}

impl Family {
    /// Bits of an element.
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

/// Structure, family and capacity fix the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub structure: Structure,
    pub family: Family,
    pub capacity: usize,
}

impl Shape {
    /// `None` if there is no such set, or its memory would be larger than [`MAX_BYTES`].
    #[must_use]
    pub fn new(structure: Structure, family: Family, capacity: usize) -> Option<Self> {
        let shape = Self {
            structure,
            family,
            capacity,
        };
        let fits = match (structure, family) {
            (Structure::Bitmap, Family::Port) => capacity == PORTS,
            (Structure::Hash, Family::Ip | Family::Ip6 | Family::Ether)
            | (Structure::Ranges, Family::Ip | Family::Ip6) => (1..MAX_BYTES).contains(&capacity),
            _ => false,
        };
        (fits && shape.bytes() <= MAX_BYTES).then_some(shape)
    }

    /// Words of its memory.
    #[must_use]
    pub const fn words(self) -> usize {
        let Self { family, capacity, .. } = self;
        match self.structure {
            Structure::Bitmap => HEADER + 2 * BITMAP,
            Structure::Hash => HEADER + 2 * HashLayout::new(capacity, matches!(family, Family::Ip6)).half,
            Structure::Ranges => {
                let node = if matches!(family, Family::Ip6) { NODE6 } else { NODE };
                HEADER + TreeLayout::new(capacity).nodes * node
            }
        }
    }

    /// Bytes of its memory.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.words() * 8
    }
}

/// Words of a node: two numbers of 32 bits for each element; four of 64.
pub const NODE: usize = FANOUT;
pub const NODE6: usize = 4 * FANOUT;

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

    /// The slot of a mixed key is its highest bits.
    #[must_use]
    pub const fn shift(self) -> u32 {
        64 - self.slots.trailing_zeros()
    }
}

/// How many nodes a tree has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLayout {
    /// Those that a tree of half-full nodes needs.
    pub least: usize,
    /// Those in use at most before the tree is built anew.
    pub most: usize,
    pub nodes: usize,
    /// Levels above the leaves, at most.
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
}

// The layout is known outside of this crate (emit/sets/): these sums are part of it.
const _: () = {
    const fn bytes(structure: Structure, family: Family, capacity: usize) -> usize {
        let shape = Shape {
            structure,
            family,
            capacity,
        };
        shape.bytes()
    }
    assert!(bytes(Structure::Bitmap, Family::Port, PORTS) == 64 + 2 * 8192);
    assert!(bytes(Structure::Hash, Family::Ip, 1) == 64 + 2 * (64 + 8 * (64 + 32)));
    assert!(bytes(Structure::Hash, Family::Ip6, 1000) == 64 + 2 * (64 + 8 * (4096 + 32) + 16 * 1314));
    assert!(bytes(Structure::Ranges, Family::Ip, 1) == 64 + 256 * (2 + 68));
    assert!(bytes(Structure::Ranges, Family::Ip6, 1) == 64 + 1024 * (2 + 68));
    assert!(TreeLayout::new(1_000_000).least == 62_500 + 3907 + 245 + 16 + 1);
    assert!(TreeLayout::new(1_000_000).height == 4);
    assert!(TreeLayout::new(16).height == 0 && TreeLayout::new(17).height == 1);
};
