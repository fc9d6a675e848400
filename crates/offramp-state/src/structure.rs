// SPDX-License-Identifier: Apache-2.0
//! All kinds of sets. A new kind is a file that implements [`Container`], and a line in [`Structure`].

use std::sync::atomic::AtomicU64;

use crate::bitmap::Bitmap;
use crate::container::Container;
use crate::hash::Hash;
use crate::item::{Family, Items, Key};
use crate::prefixes::Prefixes;
use crate::region::Home;
use crate::writer::{Typed, Writer};

/// A kind of set: what is known of its container without knowing the type.
#[derive(Debug)]
pub(crate) struct Kind {
    pub structure: Structure,
    pub family: Family,
    pub networks: bool,
    pub items: fn() -> Items,
    pub fits: fn(usize) -> bool,
    pub words: fn(usize) -> usize,
    pub matches: fn(&[AtomicU64], usize, u128) -> bool,
    pub writer: fn(usize, Home) -> Box<dyn Writer>,
}

impl Kind {
    const fn of<C: Container>(structure: Structure, family: Family) -> Self {
        Self {
            structure,
            family,
            networks: C::Key::NETWORK,
            items: || C::Key::pack(Vec::new()),
            fits: C::fits,
            words: C::words,
            matches: C::matches,
            writer: |capacity, home| Box::new(Typed::<C>::new(capacity, home)),
        }
    }
}

/// Each line: a structure, its name, and the containers that keep the elements of the families that it can have.
macro_rules! structures {
    ($($structure:ident $name:literal: $($family:ident => $container:ty),+;)+) => {
        /// How a set keeps its elements.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Structure {
            $($structure),+
        }

        impl Structure {
            /// All structures, with their names.
            pub const NAMED: &[(&str, Self)] = &[$(($name, Self::$structure)),+];

            pub(crate) fn kind(self, family: Family) -> Option<&'static Kind> {
                match (self, family) {
                    $($((Self::$structure, Family::$family) => {
                        Some(const { &Kind::of::<$container>(Self::$structure, Family::$family) })
                    })+)+
                    _ => None,
                }
            }
        }
    };
}

structures! {
    Bitmap "bitmap": Port => Bitmap;
    Hash "hash": Ip => Hash<u64>, Ip6 => Hash<u128>, Ether => Hash<u64>;
    Ranges "ranges": Ip => Prefixes<u32>, Ip6 => Prefixes<u128>;
}
