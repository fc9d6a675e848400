// SPDX-License-Identifier: Apache-2.0
//! IP addresses as numbers of 32 and 128 bits, and networks of these addresses.

use std::cmp::Ordering;
use std::fmt::Debug;

/// An IP address as a number.
pub trait Address: Copy + Ord + Send + Sync + Debug + 'static {
    const BITS: u8;
    const ZERO: Self;
    const MAX: Self;
    /// The first `length` bits.
    #[must_use]
    fn masked(self, length: u8) -> Self;
    /// The last address of the network that begins here.
    #[must_use]
    fn end(self, length: u8) -> Self;
    fn common_bits(self, other: Self) -> u8;
    fn from_number(number: u128) -> Self;
    fn number(self) -> u128;
}

macro_rules! addresses {
    ($($number:ty),+) => {$(
        impl Address for $number {
            const BITS: u8 = Self::BITS as u8;
            const ZERO: Self = 0;
            const MAX: Self = Self::MAX;

            fn masked(self, length: u8) -> Self {
                self & !Self::ZERO.end(length)
            }

            fn end(self, length: u8) -> Self {
                self | Self::MAX.checked_shr(length.into()).unwrap_or(0)
            }

            fn common_bits(self, other: Self) -> u8 {
                (self ^ other).leading_zeros() as u8
            }

            fn from_number(number: u128) -> Self {
                number as Self
            }

            fn number(self) -> u128 {
                self.into()
            }
        }
    )+};
}
addresses!(u32, u128);

/// A network: its first address, and how many bits of it are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix<A> {
    pub first: A,
    pub length: u8,
}

impl<A: Address> Prefix<A> {
    #[must_use]
    pub fn last(self) -> A {
        self.first.end(self.length)
    }

    pub(crate) fn range(self) -> (A, A) {
        (self.first, self.last())
    }

    pub(crate) fn contains(self, address: A) -> bool {
        address.masked(self.length) == self.first
    }
}

/// A network comes right before the networks inside it.
impl<A: Address> Ord for Prefix<A> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.first, self.length).cmp(&(other.first, other.length))
    }
}

impl<A: Address> PartialOrd for Prefix<A> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
