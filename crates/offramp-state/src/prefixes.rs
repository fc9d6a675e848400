// SPDX-License-Identifier: Apache-2.0
//! IP networks. All of them are in ordinary memory, in order; a tree holds those that are inside no other, for packets.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;

use crate::address::{Address, Prefix};
use crate::container::Container;
use crate::error::Error;
use crate::item::Key;
use crate::region::Home;
use crate::tree::{self, Packed, Tree, TreeLayout};

pub struct Prefixes<A> {
    all: BTreeSet<Prefix<A>>,
    tree: Tree<A>,
    capacity: usize,
}

/// One change costs about as much as building the tree for so many networks.
const BUILT_MEANWHILE: usize = 64;

impl<A: Packed> Prefixes<A> {
    /// The ranges of the networks inside `prefix`, which is not in the set itself.
    fn outermost_inside(&self, prefix: Prefix<A>) -> Vec<(A, A)> {
        let end = Prefix {
            first: prefix.last(),
            length: A::BITS,
        };
        outermost(self.all.range(prefix..=end).copied())
    }

    fn is_worth_building(&self, changes: usize) -> bool {
        changes > BUILT_MEANWHILE && changes > self.all.len() / BUILT_MEANWHILE
    }

    fn check_room(&self, wanted: usize) -> Result<(), Error> {
        if wanted > self.capacity {
            return Err(self.full(wanted));
        }
        Ok(())
    }

    fn full(&self, wanted: usize) -> Error {
        Error::Full {
            wanted,
            capacity: self.capacity,
        }
    }
}

impl<A: Packed> Container for Prefixes<A>
where
    Prefix<A>: Key,
{
    type Key = Prefix<A>;

    fn words(capacity: usize) -> usize {
        TreeLayout::new(capacity).words(A::NODE)
    }

    fn new(capacity: usize, home: &Home) -> Self {
        Self {
            all: BTreeSet::new(),
            tree: Tree::new(capacity, home),
            capacity,
        }
    }

    fn matches(words: &[AtomicU64], _: usize, key: u128) -> bool {
        tree::find(words, A::from_number(key)).is_some()
    }

    fn len(&self) -> usize {
        self.all.len()
    }

    fn insert(&mut self, home: &Home, prefix: Prefix<A>) -> Result<bool, Error> {
        if self.all.len() == self.capacity && !self.all.contains(&prefix) {
            return Err(self.full(self.all.len() + 1));
        }
        if !self.all.insert(prefix) {
            return Ok(false);
        }
        let range = prefix.range();
        let is_inside = tree::find(home.words(), range.0).is_some_and(|(_, last)| range.1 <= last);
        if !is_inside {
            let result = self.tree.splice(home, range.0, range.1, &[range]);
            if let Err(error) = result {
                self.all.remove(&prefix);
                return Err(error);
            }
        }
        Ok(true)
    }

    fn remove(&mut self, home: &Home, prefix: Prefix<A>) -> Result<bool, Error> {
        if !self.all.remove(&prefix) {
            return Ok(false);
        }
        let range = prefix.range();
        if tree::find(home.words(), range.0) == Some(range) {
            let inside = self.outermost_inside(prefix);
            let result = self.tree.splice(home, range.0, range.1, &inside);
            if let Err(error) = result {
                self.all.insert(prefix);
                return Err(error);
            }
        }
        Ok(true)
    }

    fn contains(&self, _: &Home, prefix: Prefix<A>) -> bool {
        self.all.contains(&prefix)
    }

    fn longest(&self, address: u128) -> Option<Prefix<A>> {
        // The last network up to `bound` may contain the address; then it is the longest that does. If it does not, all
        // networks that do begin before it. They contain both, so they are no longer than what the two have in common:
        // fewer bits than `length`.
        let address = A::from_number(address);
        let mut length = A::BITS;
        loop {
            let bound = Prefix {
                first: address.masked(length),
                length,
            };
            let candidate = *self.all.range(..=bound).next_back()?;
            if candidate.contains(address) {
                return Some(candidate);
            }
            length = candidate.first.common_bits(address);
        }
    }

    fn extend(&mut self, home: &Home, new: &[Prefix<A>]) -> Result<(), Error> {
        let before = self.all.len();
        if self.is_worth_building(new.len()) {
            let mut more: BTreeSet<_> = new
                .iter()
                .copied()
                .filter(|prefix| !self.all.contains(prefix))
                .collect();
            self.check_room(before + more.len())?;
            self.tree.replace(home, &outermost(Merged::new(&self.all, &more)))?;
            self.all.append(&mut more);
        } else {
            if before + new.len() > self.capacity {
                let more: BTreeSet<_> = new.iter().filter(|prefix| !self.all.contains(prefix)).collect();
                self.check_room(before + more.len())?;
            }
            for &prefix in new {
                self.insert(home, prefix)?;
            }
        }
        Ok(())
    }

    fn subtract(&mut self, home: &Home, old: &[Prefix<A>]) -> Result<(), Error> {
        if self.is_worth_building(old.len()) {
            let old: BTreeSet<_> = old.iter().copied().collect();
            let rest = self.all.iter().filter(|prefix| !old.contains(prefix)).copied();
            self.tree.replace(home, &outermost(rest))?;
            self.all.retain(|prefix| !old.contains(prefix));
        } else {
            for &prefix in old {
                self.remove(home, prefix)?;
            }
        }
        Ok(())
    }

    fn replace(&mut self, home: &Home, mut all: Vec<Prefix<A>>) -> Result<(), Error> {
        all.sort_unstable();
        all.dedup();
        self.check_room(all.len())?;
        self.tree.replace(home, &outermost(all.iter().copied()))?;
        self.all = all.into_iter().collect();
        Ok(())
    }

    /// This is for packets alone, so the ranges need not be networks.
    fn fix(&mut self, home: &Home, ranges: &[(u128, u128)]) -> Result<(), Error> {
        self.check_room(ranges.len())?;
        let numbers = |&(first, last): &(u128, u128)| (A::from_number(first), A::from_number(last));
        self.tree.fix(home, &ranges.iter().map(numbers).collect::<Vec<_>>())
    }

    fn keys(&self, _: &Home) -> Result<Vec<Prefix<A>>, Error> {
        Ok(self.all.iter().copied().collect())
    }
}

/// The ranges of the networks that are inside no other. `prefixes` are ascending.
fn outermost<A: Address>(prefixes: impl Iterator<Item = Prefix<A>>) -> Vec<(A, A)> {
    let mut ranges: Vec<(A, A)> = Vec::with_capacity(prefixes.size_hint().0);
    for prefix in prefixes {
        if ranges.last().is_none_or(|&(_, last)| last < prefix.first) {
            ranges.push(prefix.range());
        }
    }
    ranges
}

/// Two ordered sets, merged.
struct Merged<'a, A> {
    one: std::iter::Peekable<std::collections::btree_set::Iter<'a, Prefix<A>>>,
    other: std::iter::Peekable<std::collections::btree_set::Iter<'a, Prefix<A>>>,
}

impl<'a, A: Address> Merged<'a, A> {
    fn new(one: &'a BTreeSet<Prefix<A>>, other: &'a BTreeSet<Prefix<A>>) -> Self {
        Self {
            one: one.iter().peekable(),
            other: other.iter().peekable(),
        }
    }
}

impl<A: Address> Iterator for Merged<'_, A> {
    type Item = Prefix<A>;

    fn next(&mut self) -> Option<Self::Item> {
        let from_one = match (self.one.peek(), self.other.peek()) {
            (Some(one), Some(other)) => one < other,
            (one, _) => one.is_some(),
        };
        if from_one { self.one.next() } else { self.other.next() }.copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Heap;
    use crate::{Family, Shape, Structure};

    /// Networks of 19 to 32 bits at both ends and inside of the address space: most contain others, or are contained.
    #[test]
    fn the_tree_has_what_is_inside_no_other() {
        for capacity in [20, 500, 9000] {
            let shape = Shape::new(Structure::Ranges, Family::Ip, capacity).expect("a shape");
            let home = Home::new(Box::new(Heap::new(shape.words())), shape.words());
            let mut prefixes = Prefixes::<u32>::new(capacity, &home);
            let mut state = 12_345_u64;
            let mut random = |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            for _ in 0..5000 {
                let length = (32 - random(14)) as u8;
                let base = [0, 1 << 24, 0xFFFF_C000][random(3) as usize];
                let first = (base | random(1 << 14) as u32).masked(length);
                let prefix = Prefix { first, length };
                let full = prefixes.len() == capacity;
                if random(10) < 6 && !full {
                    prefixes.insert(&home, prefix).expect("room");
                } else {
                    prefixes.remove(&home, prefix).expect("nothing to fail");
                }
                let wanted = outermost(prefixes.all.iter().copied());
                assert_eq!(prefixes.tree.elements(&home), wanted);
                for &(first, last) in &wanted {
                    assert_eq!(tree::find(home.words(), last), Some((first, last)));
                }
            }
        }
    }
}
