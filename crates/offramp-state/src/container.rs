// SPDX-License-Identifier: Apache-2.0
//! What each kind of set does in its own way. [`crate::structure`] lists the kinds.

use std::sync::atomic::AtomicU64;

use crate::error::Error;
use crate::item::{Item, Key};
use crate::region::{Home, MAX_BYTES, room_for};

/// The keys in a set's memory, as its writer sees them. What readers have to know is in the memory.
pub trait Container: Sized + Send + 'static {
    type Key: Key;

    /// Whether a set can have this capacity, if memory does not matter.
    #[must_use]
    fn fits(capacity: usize) -> bool {
        (1..MAX_BYTES).contains(&capacity)
    }

    /// The number of words of memory.
    #[must_use]
    fn words(capacity: usize) -> usize;

    /// An empty container, in memory of all zeros.
    #[must_use]
    fn new(capacity: usize, home: &Home) -> Self;

    /// Whether a packet with `key` is in the set, decided as compiled code does.
    #[must_use]
    fn matches(words: &[AtomicU64], capacity: usize, key: u128) -> bool;

    #[must_use]
    fn len(&self) -> usize;

    #[must_use]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `key`. Returns whether it is new.
    fn insert(&mut self, home: &Home, key: Self::Key) -> Result<bool, Error>;

    /// Removes `key`. Returns whether it was there.
    fn remove(&mut self, home: &Home, key: Self::Key) -> Result<bool, Error>;

    #[must_use]
    fn contains(&self, home: &Home, key: Self::Key) -> bool;

    /// The longest network that has `address`, if keys are networks.
    #[must_use]
    fn longest(&self, _address: u128) -> Option<Self::Key> {
        None
    }

    /// Adds all of `keys`; if they do not fit, adds none.
    fn extend(&mut self, home: &Home, keys: &[Self::Key]) -> Result<(), Error>;

    /// Removes those of `keys` that are there.
    fn subtract(&mut self, home: &Home, keys: &[Self::Key]) -> Result<(), Error> {
        keys.iter().try_for_each(|&key| self.remove(home, key).map(drop))
    }

    /// Replaces the keys. Readers see the old keys or `keys`, and nothing between. `keys` may be in any order, and
    /// repeat.
    fn replace(&mut self, home: &Home, keys: Vec<Self::Key>) -> Result<(), Error>;

    /// Becomes the set of all keys in `ranges`, which are inclusive, ascending and disjoint. It is not changed
    /// afterwards.
    fn fix(&mut self, home: &Home, ranges: &[(u128, u128)]) -> Result<(), Error> {
        let count =
            |&(first, last): &(u128, u128)| usize::try_from(last - first).unwrap_or(usize::MAX).saturating_add(1);
        let wanted = ranges.iter().map(count).fold(0, usize::saturating_add);
        room_for(wanted.saturating_mul(2 * size_of::<Self::Key>()))?;
        let keys = ranges.iter().flat_map(|&(first, last)| first..=last);
        self.replace(home, keys.map(|key| Item::from(key).into()).collect())
    }

    /// All keys, ascending.
    fn keys(&self, home: &Home) -> Result<Vec<Self::Key>, Error>;
}
