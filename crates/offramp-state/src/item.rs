// SPDX-License-Identifier: Apache-2.0
//! Elements of all families as numbers, and as the keys that containers keep.

use crate::address::{Address, Prefix};
use crate::error::Error;

/// What the elements of a set are.
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

/// One element of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The number; for a network, its first address.
    pub value: u128,
    /// For a network, how many bits are fixed.
    pub length: Option<u8>,
}

/// What a container keeps. An item that was made for a set of this shape becomes a key without loss.
pub trait Key: Copy + Ord + Send + From<Item> + Into<Item> + 'static {
    /// Whether it is a network.
    const NETWORK: bool = false;

    #[must_use]
    fn pack(keys: Vec<Self>) -> Items;

    /// # Panics
    /// If they are of another kind.
    #[must_use]
    fn unpack(items: Items) -> Vec<Self>;

    /// # Panics
    /// If they are of another kind.
    #[must_use]
    fn slice(items: &Items) -> &[Self];
}

/// Each line: a type of keys, and the variant of [`Items`] that holds many of them.
macro_rules! keys {
    ($($variant:ident: $key:ty, network: $network:literal;)+) => {
        /// Many elements, all of one kind, as keys.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Items {
            $($variant(Vec<$key>)),+
        }

        impl Items {
            /// Appends `item`. How many will come is not known in advance: whoever gives them may be wrong about it.
            #[inline]
            pub fn push(&mut self, item: Item) -> Result<(), Error> {
                match self {
                    $(Self::$variant(all) => {
                        all.try_reserve(1).map_err(|_| Error::Memory)?;
                        all.push(item.into());
                    }),+
                }
                Ok(())
            }

            /// Sorts them, and leaves out repetitions.
            pub fn make_distinct(&mut self) {
                match self {
                    $(Self::$variant(all) => {
                        all.sort_unstable();
                        all.dedup();
                    }),+
                }
            }

            /// Leaves out those that `keep` does not want.
            pub fn retain(&mut self, keep: impl Fn(Item) -> bool) {
                match self {
                    $(Self::$variant(all) => all.retain(|&key| keep(key.into()))),+
                }
            }

            #[must_use]
            pub fn get(&self, index: usize) -> Item {
                match self {
                    $(Self::$variant(all) => all[index].into()),+
                }
            }

            #[must_use]
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$variant(all) => all.len()),+
                }
            }
        }

        $(impl Key for $key {
            const NETWORK: bool = $network;

            fn pack(keys: Vec<Self>) -> Items {
                Items::$variant(keys)
            }

            fn unpack(items: Items) -> Vec<Self> {
                match items {
                    Items::$variant(all) => all,
                    other => panic!("{} items of another kind than the set's", other.len()),
                }
            }

            fn slice(items: &Items) -> &[Self] {
                match items {
                    Items::$variant(all) => all,
                    other => panic!("{} items of another kind than the set's", other.len()),
                }
            }
        })+
    };
}

keys! {
    Numbers: u64, network: false;
    Wide: u128, network: false;
    Prefixes: Prefix<u32>, network: true;
    Prefixes6: Prefix<u128>, network: true;
}

impl Items {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Item> for u64 {
    fn from(item: Item) -> Self {
        item.value as Self
    }
}

impl From<Item> for u128 {
    fn from(item: Item) -> Self {
        item.value
    }
}

/// A single address is a network of one.
impl<A: Address> From<Item> for Prefix<A> {
    fn from(item: Item) -> Self {
        Self {
            first: A::from_number(item.value),
            length: item.length.unwrap_or(A::BITS),
        }
    }
}

impl From<u64> for Item {
    fn from(value: u64) -> Self {
        u128::from(value).into()
    }
}

impl From<u128> for Item {
    fn from(value: u128) -> Self {
        Self { value, length: None }
    }
}

impl<A: Address> From<Prefix<A>> for Item {
    fn from(prefix: Prefix<A>) -> Self {
        Self {
            value: prefix.first.number(),
            length: Some(prefix.length),
        }
    }
}

/// Why a text or a number is not an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is nothing that offramp knows.
    Text,
    /// It is an element of another family.
    Family(Family),
    /// It is a network, where only addresses are allowed.
    Network,
    /// The prefix is longer than an address.
    Length,
    /// Bits behind the prefix are set; the network that they are in, and its length.
    HostBits(u128, u8),
    /// The number is too large.
    Number,
}
