// SPDX-License-Identifier: Apache-2.0
//! The right to change a set: items of any kind come in, and become keys of the kind that its container keeps.

use crate::container::Container;
use crate::error::Error;
use crate::item::{Item, Items, Key};
use crate::region::{Home, Memory, room_for};

/// The right to change a set, whatever it keeps.
pub trait Writer: Send {
    #[must_use]
    fn len(&self) -> usize;

    #[must_use]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `item`. Returns whether it is new.
    fn insert(&mut self, item: Item) -> Result<bool, Error>;

    /// Removes `item`. Returns whether it was there.
    fn remove(&mut self, item: Item) -> Result<bool, Error>;

    #[must_use]
    fn contains(&self, item: Item) -> bool;

    /// The longest network that has `address`.
    #[must_use]
    fn longest(&self, address: u128) -> Option<Item>;

    /// Adds all of `items`; if they do not fit, adds none.
    fn extend(&mut self, items: &Items) -> Result<(), Error>;

    /// Removes those of `items` that are there.
    fn subtract(&mut self, items: &Items) -> Result<(), Error>;

    /// Replaces the elements. Readers see the old ones or `items`, and nothing between.
    fn replace(&mut self, items: Items) -> Result<(), Error>;

    /// Becomes the set of all keys in `ranges`, which are inclusive, ascending and disjoint. It is not changed
    /// afterwards.
    fn fix(&mut self, ranges: &[(u128, u128)]) -> Result<(), Error>;

    /// All elements, ascending.
    fn items(&self) -> Result<Items, Error>;

    /// Whether it may wait and work for long. If it may not, whatever would have to returns [`Error::Busy`].
    fn be_patient(&mut self, patient: bool);

    /// Moves to `memory`, which is all zeros. The old memory is no longer read.
    fn rehome(&mut self, memory: Box<dyn Memory>);
}

/// A container and its memory.
pub(crate) struct Typed<C> {
    container: C,
    home: Home,
}

impl<C: Container> Typed<C> {
    pub(crate) fn new(capacity: usize, home: Home) -> Self {
        let container = C::new(capacity, &home);
        Self { container, home }
    }

    /// Whether there is memory for work on so many keys beside those that are there: several copies of them, in trees
    /// whose nodes are half full.
    fn room_with(&self, more: usize) -> Result<(), Error> {
        let keys = self.container.len().saturating_add(more);
        room_for(keys.saturating_mul(8 * size_of::<C::Key>()))
    }
}

impl<C: Container> Writer for Typed<C> {
    fn len(&self) -> usize {
        self.container.len()
    }

    fn insert(&mut self, item: Item) -> Result<bool, Error> {
        self.container.insert(&self.home, item.into())
    }

    fn remove(&mut self, item: Item) -> Result<bool, Error> {
        self.container.remove(&self.home, item.into())
    }

    fn contains(&self, item: Item) -> bool {
        self.container.contains(&self.home, item.into())
    }

    fn longest(&self, address: u128) -> Option<Item> {
        self.container.longest(address).map(Into::into)
    }

    fn extend(&mut self, items: &Items) -> Result<(), Error> {
        self.room_with(items.len())?;
        self.container.extend(&self.home, Key::slice(items))
    }

    fn subtract(&mut self, items: &Items) -> Result<(), Error> {
        self.room_with(items.len())?;
        self.container.subtract(&self.home, Key::slice(items))
    }

    fn replace(&mut self, items: Items) -> Result<(), Error> {
        self.home.be_patient()?;
        self.room_with(items.len())?;
        self.container.replace(&self.home, Key::unpack(items))
    }

    fn fix(&mut self, ranges: &[(u128, u128)]) -> Result<(), Error> {
        self.home.be_patient()?;
        self.container.fix(&self.home, ranges)
    }

    fn items(&self) -> Result<Items, Error> {
        self.room_with(0)?;
        self.container.keys(&self.home).map(Key::pack)
    }

    fn be_patient(&mut self, patient: bool) {
        self.home.patient = patient;
    }

    fn rehome(&mut self, memory: Box<dyn Memory>) {
        self.home.rehome(memory);
    }
}
