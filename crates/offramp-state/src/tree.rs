// SPDX-License-Identifier: Apache-2.0
//! Disjoint ranges of addresses in a B+-tree. Each change replaces a part of it by one store.
//!
//! ```text
//! inner node   first[32], child[32]     child i has the ranges from first[i] on, before first[i + 1]
//! leaf         first[32], last[32]
//! ```
//!
//! IP: u32 each. IP6: u64, first all high words, then all low ones; a child is one word.
//!
//! Unused places repeat the last used one, so that a search needs no count: i = 0; for step in 16 8 4 2 1:
//! if first[i + step] <= key: i += step. An empty leaf has first = all ones, last = 0.
//!
//! An update of one leaf writes a new leaf, and then its number into the parent. An update that changes more writes new
//! nodes up to the root, and publishes the root. Either way readers see all of it, or nothing. The nodes that were
//! replaced are written again after a grace period; the writer waits for one only when no other nodes are left. A tree
//! that has become sparse is built anew.

use std::marker::PhantomData;
use std::ops::Range;

use crate::error::Error;
use crate::region::Home;

mod node;

use node::{FANOUT, Part, node, search};
pub use node::{Packed, TreeLayout, find};

/// How full nodes are when a tree is built: there is room for some updates before they split.
const BUILT_FILL: usize = 24;

/// A node, and an address that is not after the first one below it, and is after the last one below the previous
/// branch.
type Branch<A> = (A, u32);

pub struct Tree<A> {
    layout: TreeLayout,
    height: u32,
    root: u32,
    /// How many places are used in each node.
    used: Vec<u8>,
    /// Nodes that can be written; the first node never used; those replaced since the last grace period.
    free: Vec<u32>,
    unused: u32,
    retired: Vec<u32>,
    /// In the current update: the nodes written, the nodes replaced.
    written: Vec<u32>,
    replaced: Vec<u32>,
    addresses: PhantomData<A>,
}

impl<A: Packed> Tree<A> {
    #[must_use]
    pub fn new(capacity: usize, home: &Home) -> Self {
        let layout = TreeLayout::new(capacity);
        let mut tree = Self {
            layout,
            height: 0,
            root: 0,
            used: vec![0; layout.nodes],
            free: Vec::new(),
            unused: 0,
            retired: Vec::new(),
            written: Vec::new(),
            replaced: Vec::new(),
            addresses: PhantomData,
        };
        tree.root = tree.leaf(home, &[]);
        tree.commit(home);
        tree
    }

    fn live(&self) -> usize {
        self.unused as usize - self.free.len() - self.retired.len()
    }

    fn available(&self) -> usize {
        self.free.len() + self.layout.nodes - self.unused as usize
    }

    /// Makes sure that `count` nodes can be taken without waiting; false if there are not that many.
    fn reserve(&mut self, home: &Home, count: usize) -> Result<bool, Error> {
        if self.available() < count && !self.retired.is_empty() {
            home.wait()?;
            self.free.append(&mut self.retired);
        }
        Ok(self.available() >= count)
    }

    fn take(&mut self) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.unused += 1;
            self.unused - 1
        });
        self.written.push(number);
        number
    }

    fn leaf(&mut self, home: &Home, ranges: &[(A, A)]) -> u32 {
        let number = self.take();
        let words = node::<A>(home.words(), number);
        let last = ranges.len().saturating_sub(1);
        let range = |place: usize| ranges.get(place.min(last)).copied().unwrap_or((A::MAX, A::ZERO));
        A::write(words, Part::First, |place| range(place).0);
        A::write(words, Part::Last, |place| range(place).1);
        self.used[number as usize] = ranges.len() as u8;
        number
    }

    fn inner(&mut self, home: &Home, branches: &[Branch<A>]) -> u32 {
        let number = self.take();
        let words = node::<A>(home.words(), number);
        let last = branches.len() - 1;
        A::write(words, Part::First, |place| branches[place.min(last)].0);
        A::write_children(words, |place| branches[place.min(last)].1);
        self.used[number as usize] = branches.len() as u8;
        number
    }

    /// The branches of an inner node.
    fn branches(&self, home: &Home, number: u32) -> Vec<Branch<A>> {
        let words = node::<A>(home.words(), number);
        let places = 0..usize::from(self.used[number as usize]);
        places
            .map(|place| (A::first(words, place), A::child(words, place)))
            .collect()
    }

    /// The ranges of a leaf.
    fn ranges(&self, home: &Home, number: u32) -> Vec<(A, A)> {
        let words = node::<A>(home.words(), number);
        let places = 0..usize::from(self.used[number as usize]);
        places
            .map(|place| (A::first(words, place), A::last(words, place)))
            .collect()
    }

    /// All ranges, in order.
    #[must_use]
    pub fn elements(&self, home: &Home) -> Vec<(A, A)> {
        let mut all = Vec::new();
        self.walk(self.root, self.height, home, &mut |tree, number, height| {
            if height == 0 {
                all.extend(tree.ranges(home, number));
            }
        });
        all
    }

    fn walk(&self, number: u32, height: u32, home: &Home, visit: &mut impl FnMut(&Self, u32, u32)) {
        visit(self, number, height);
        if height > 0 {
            for (_, child) in self.branches(home, number) {
                self.walk(child, height - 1, home, visit);
            }
        }
    }

    /// Marks a node, and all below it, as replaced.
    fn discard(&mut self, number: u32, height: u32, home: &Home) {
        let mut all = std::mem::take(&mut self.replaced);
        self.walk(number, height, home, &mut |_, number, _| all.push(number));
        self.replaced = all;
    }

    fn commit(&mut self, home: &Home) {
        home.publish(u64::from(self.height) << 32 | u64::from(self.root));
        self.written.clear();
        self.retired.append(&mut self.replaced);
    }

    fn abort(&mut self) {
        self.free.append(&mut self.written);
        self.replaced.clear();
    }

    /// Replaces everything by `ranges`, which are disjoint and ascending.
    pub fn replace(&mut self, home: &Home, ranges: &[(A, A)]) -> Result<(), Error> {
        self.build(home, ranges, BUILT_FILL)
    }

    /// The same, in as few nodes as possible, if no updates will follow.
    pub fn fix(&mut self, home: &Home, ranges: &[(A, A)]) -> Result<(), Error> {
        self.build(home, ranges, FANOUT)
    }

    fn build(&mut self, home: &Home, ranges: &[(A, A)], fill: usize) -> Result<(), Error> {
        home.be_patient()?;
        // There are always enough: the nodes of a tree as full as this are fewer than `least`, and at most `most` are
        // in use.
        let enough = self.reserve(home, self.layout.least)?;
        assert!(enough, "{} nodes in use, {} wanted", self.live(), self.layout.least);
        self.discard(self.root, self.height, home);
        let leaves = chunks(ranges.len().max(1), fill);
        let mut level: Vec<_> = leaves
            .map(|part| &ranges[part.start..part.end.min(ranges.len())])
            .map(|part| (part.first().map_or(A::ZERO, |range| range.0), self.leaf(home, part)))
            .collect();
        self.height = 0;
        while level.len() > 1 {
            level = chunks(level.len(), fill)
                .map(|part| (level[part.start].0, self.inner(home, &level[part])))
                .collect();
            self.height += 1;
        }
        self.root = level[0].1;
        self.commit(home);
        Ok(())
    }

    /// Replaces all ranges that begin in `first..=last` by `new`, which are ascending and inside it.
    pub fn splice(&mut self, home: &Home, first: A, last: A, new: &[(A, A)]) -> Result<(), Error> {
        // At most so many new nodes: two paths with a split at each level, and those for the new ranges.
        let need = 4 * (self.height as usize + 3) + new.len() / 8;
        if self.live() + need > self.layout.most || !self.reserve(home, need)? {
            return self.splice_anew(home, first, last, new);
        }
        if self.replace_leaf(home, first, last, new) {
            return Ok(());
        }
        let mut level = Vec::new();
        self.splice_below(home, self.root, self.height, (first, last), new, &mut level);
        let mut height = self.height;
        if level.is_empty() {
            height = 0;
            level.push((A::ZERO, self.leaf(home, &[])));
        }
        while level.len() > 1 {
            let parts = chunks(level.len(), FANOUT);
            level = parts
                .map(|part| (level[part.start].0, self.inner(home, &level[part])))
                .collect();
            height += 1;
        }
        if height as usize > self.layout.height {
            self.abort();
            return self.splice_anew(home, first, last, new);
        }
        self.root = level[0].1;
        self.height = height;
        while self.height > 0 && self.used[self.root as usize] == 1 {
            self.replaced.push(self.root);
            self.root = A::child(node::<A>(home.words(), self.root), 0);
            self.height -= 1;
        }
        self.commit(home);
        Ok(())
    }

    /// The most frequent case of `splice`: before and after, all is in one leaf. Else it returns false and changes
    /// nothing.
    fn replace_leaf(&mut self, home: &Home, first: A, last: A, new: &[(A, A)]) -> bool {
        let mut parent = None;
        let mut number = self.root;
        for _ in 0..self.height {
            let words = node::<A>(home.words(), number);
            let place = search(words, first);
            if search(words, last) != place {
                return false;
            }
            parent = Some((number, place));
            number = A::child(words, place);
        }
        let Some((parent, place)) = parent else {
            return false;
        };
        let mut all = self.ranges(home, number);
        all.splice(span(&all, first, last, |range| range.0), new.iter().copied());
        let words = node::<A>(home.words(), parent);
        // The nodes above hold the parent's own first address, so it has to stay right.
        if !(1..=FANOUT).contains(&all.len()) || all[0].0 < A::first(words, place) {
            return false;
        }
        let leaf = self.leaf(home, &all);
        let last_used = usize::from(self.used[parent as usize]) - 1;
        let places = if place < last_used {
            place..place + 1
        } else {
            last_used..FANOUT
        };
        places.for_each(|place| A::replace_child(words, place, leaf));
        self.written.clear();
        self.retired.push(number);
        true
    }

    fn splice_anew(&mut self, home: &Home, first: A, last: A, new: &[(A, A)]) -> Result<(), Error> {
        home.be_patient()?;
        let mut all = self.elements(home);
        all.splice(span(&all, first, last, |range| range.0), new.iter().copied());
        self.replace(home, &all)
    }

    /// Pushes what replaces the node to `out`.
    ///
    /// The second of the changed branches begins where its first range does, never earlier. Otherwise ranges could get
    /// lost: one range may replace ranges on both sides of a border between branches, and others may replace that one
    /// later. Some of these would then be put before the border, and sought behind it.
    fn splice_below(
        &mut self,
        home: &Home,
        number: u32,
        height: u32,
        (first, last): (A, A),
        new: &[(A, A)],
        out: &mut Vec<Branch<A>>,
    ) {
        self.replaced.push(number);
        if height == 0 {
            let mut all = self.ranges(home, number);
            all.splice(span(&all, first, last, |range| range.0), new.iter().copied());
            for part in chunks(all.len(), FANOUT) {
                let leaf = self.leaf(home, &all[part.clone()]);
                out.push((all[part.start].0, leaf));
            }
        } else {
            let words = node::<A>(home.words(), number);
            let [low, high] = [first, last].map(|key| search(words, key));
            let old = self.branches(home, number);
            // A search may end at a repetition of the last place.
            let [low, high] = [low, high].map(|place| place.min(old.len() - 1));
            let mut all = old[..low].to_vec();
            self.splice_below(home, old[low].1, height - 1, (first, last), new, &mut all);
            for &(_, child) in &old[(low + 1).min(high)..high] {
                self.discard(child, height - 1, home);
            }
            if high > low {
                self.splice_below(home, old[high].1, height - 1, (first, last), &[], &mut all);
            }
            all.extend_from_slice(&old[high + 1..]);
            for part in chunks(all.len(), FANOUT) {
                let inner = self.inner(home, &all[part.clone()]);
                out.push((all[part.start].0, inner));
            }
        }
    }
}

/// Splits `count` places into parts of at most `most`, as evenly as possible.
fn chunks(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let parts = count.div_ceil(most);
    (0..parts).map(move |part| part * count / parts..(part + 1) * count / parts)
}

/// The places of the elements that begin in `first..=last`.
fn span<T, A: Ord + Copy>(all: &[T], first: A, last: A, start: impl Fn(&T) -> A) -> Range<usize> {
    all.partition_point(|one| start(one) < first)..all.partition_point(|one| start(one) <= last)
}
