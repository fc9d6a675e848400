// SPDX-License-Identifier: Apache-2.0
//! Random changes, compared with sets of the standard library; and how often a grace period is waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use offramp_state::{Error, Family, Heap, Item, Items, Set, Shape, Structure};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn set(structure: Structure, family: Family, capacity: usize) -> (Arc<Set>, Arc<AtomicUsize>) {
    let shape = Shape::new(structure, family, capacity).expect("a shape");
    let waits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&waits);
    let memory = Heap::watched(shape.words(), move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    (Arc::new(Set::new(shape, Box::new(memory), || 0)), waits)
}

fn ascending(set: &Set) -> Items {
    set.look(|writer| writer.items()).expect("not forked").expect("memory")
}

/// Numbers of a universe of four times the capacity, so that most of the time the set is nearly full.
fn numbers_behave(family: Family, structure: Structure, capacity: usize, rounds: usize) {
    let (set, waits) = set(structure, family, capacity);
    let mut model = BTreeSet::new();
    let mut random = Random(capacity as u64);
    let universe = (4 * capacity as u64).min(1 << family.bits().min(60));
    let list = |keys: &[u64]| {
        let mut items = Items::new(set.shape());
        for &key in keys {
            items.push(Item::from(key)).expect("memory");
        }
        items
    };
    for round in 0..rounds {
        let key = random.below(universe);
        match random.below(1000) {
            0 => {
                let keys: Vec<_> = (0..random.below(capacity as u64))
                    .map(|_| random.below(universe))
                    .collect();
                set.change(|writer| writer.replace(list(&keys))).expect("room");
                model = keys.into_iter().collect();
            }
            1..20 => {
                let keys: Vec<_> = (0..random.below(capacity as u64 / 8 + 1))
                    .map(|_| random.below(universe))
                    .collect();
                let union: BTreeSet<_> = model.iter().chain(&keys).copied().collect();
                let result = set.change(|writer| writer.extend(&list(&keys)));
                if union.len() <= capacity {
                    assert_eq!(result, Ok(()));
                    model = union;
                } else {
                    let wanted = union.len();
                    assert_eq!(result, Err(Error::Full { wanted, capacity }));
                }
            }
            20..30 => {
                let keys: Vec<_> = (0..random.below(capacity as u64 / 4 + 1))
                    .map(|_| random.below(universe))
                    .collect();
                set.change(|writer| writer.subtract(&list(&keys)))
                    .expect("nothing to fail");
                for key in keys {
                    model.remove(&key);
                }
            }
            30..600 => {
                let result = set.change(|writer| writer.insert(Item::from(key)));
                if model.len() < capacity || model.contains(&key) {
                    assert_eq!(result, Ok(model.insert(key)));
                } else {
                    let wanted = capacity + 1;
                    assert_eq!(result, Err(Error::Full { wanted, capacity }));
                }
            }
            _ => assert_eq!(
                set.change(|writer| writer.remove(Item::from(key))),
                Ok(model.remove(&key))
            ),
        }
        assert_eq!(set.len(), model.len());
        for probe in [key, random.below(universe)] {
            assert_eq!(
                set.matches(probe.into()),
                model.contains(&probe),
                "round {round}, {probe}"
            );
            assert_eq!(
                set.look(|writer| writer.contains(Item::from(probe))),
                Ok(model.contains(&probe))
            );
        }
    }
    let keys: Vec<_> = model.iter().copied().collect();
    assert_eq!(ascending(&set), list(&keys));
    assert!(waits.load(Ordering::Relaxed) < rounds / 50 + 10, "{waits:?} waits");
}

#[test]
fn hashes_of_numbers_behave() {
    for capacity in [1, 2, 16, 100, 5000] {
        numbers_behave(Family::Ip, Structure::Hash, capacity, 20_000);
    }
    numbers_behave(Family::Ether, Structure::Hash, 300, 20_000);
}

#[test]
fn hashes_of_wide_keys_behave() {
    for capacity in [1, 2, 16, 100, 5000] {
        numbers_behave(Family::Ip6, Structure::Hash, capacity, 20_000);
    }
}

#[test]
fn bitmaps_behave() {
    numbers_behave(Family::Port, Structure::Bitmap, 65536, 20_000);
}

#[test]
fn churn_in_a_full_hash_seldom_waits() {
    const CAPACITY: u64 = 10_000;
    for family in [Family::Ip, Family::Ip6] {
        let item = |key: u64| match family {
            Family::Ip => key.into(),
            _ => (u128::from(key) << 64).into(),
        };
        let (set, waits) = set(Structure::Hash, family, CAPACITY as usize);
        for key in 0..CAPACITY {
            set.change(|writer| writer.insert(item(key))).expect("room");
        }
        for key in CAPACITY..20 * CAPACITY {
            assert_eq!(set.change(|writer| writer.remove(item(key - CAPACITY))), Ok(true));
            assert_eq!(set.change(|writer| writer.insert(item(key))), Ok(true));
        }
        assert!(waits.load(Ordering::Relaxed) <= 100, "{family:?}: {waits:?} waits");
    }
}

/// The networks of a model, and what they mean.
struct Networks(BTreeMap<(u128, u8), u128>);

impl Networks {
    fn longest(&self, address: u128, bits: u8) -> Option<(u128, u8)> {
        (0..=bits).rev().find_map(|length| {
            let host = bits - length;
            let first = address
                .checked_shr(host.into())
                .unwrap_or(0)
                .checked_shl(host.into())
                .unwrap_or(0);
            self.0.contains_key(&(first, length)).then_some((first, length))
        })
    }
}

fn prefix(value: u128, length: u8) -> Item {
    Item {
        value,
        length: Some(length),
    }
}

/// Addresses and lengths are chosen so that networks often contain each other, and touch both ends of the address
/// space.
fn networks_behave(family: Family, capacity: usize, rounds: usize, seed: u64) {
    let bits = family.bits();
    let (set, waits) = set(Structure::Ranges, family, capacity);
    let mut model = Networks(BTreeMap::new());
    let mut random = Random(seed);
    let network = |random: &mut Random| {
        let length = if random.below(40) == 0 {
            random.below(u64::from(bits) + 1) as u8
        } else {
            bits - random.below(u64::from(bits.min(14))) as u8
        };
        let host = u32::from(bits - length);
        let low = u128::from(random.below(1 << 14));
        let high = [0, u128::MAX >> (128 - bits) >> 14 << 14, 1 << 24][random.below(3) as usize];
        let first = (high | low)
            .checked_shr(host)
            .unwrap_or(0)
            .checked_shl(host)
            .unwrap_or(0);
        (first, length)
    };
    let list = |networks: &[(u128, u8)]| {
        let mut items = Items::new(set.shape());
        for &(first, length) in networks {
            items.push(prefix(first, length)).expect("memory");
        }
        items
    };
    for round in 0..rounds {
        let (first, length) = network(&mut random);
        let item = prefix(first, length);
        match random.below(1000) {
            0..2 => {
                let all: Vec<_> = (0..random.below(capacity as u64))
                    .map(|_| network(&mut random))
                    .collect();
                set.change(|writer| writer.replace(list(&all))).expect("room");
                model.0 = all.into_iter().map(|network| (network, 0)).collect();
            }
            2..10 => {
                let new: Vec<_> = (0..random.below(capacity as u64 / 8 + 1))
                    .map(|_| network(&mut random))
                    .collect();
                let mut union = model.0.clone();
                union.extend(new.iter().map(|&network| (network, 0)));
                let result = set.change(|writer| writer.extend(&list(&new)));
                if union.len() <= capacity {
                    assert_eq!(result, Ok(()));
                    model.0 = union;
                } else {
                    let wanted = union.len();
                    assert_eq!(result, Err(Error::Full { wanted, capacity }));
                }
            }
            10..20 => {
                let some = model.0.keys().copied().filter(|_| random.below(3) == 0);
                let old: Vec<_> = some.collect();
                set.change(|writer| writer.subtract(&list(&old)))
                    .expect("nothing to fail");
                for network in old {
                    model.0.remove(&network);
                }
            }
            20..600 => {
                let result = set.change(|writer| writer.insert(item));
                if model.0.len() < capacity || model.0.contains_key(&(first, length)) {
                    assert_eq!(result, Ok(model.0.insert((first, length), 0).is_none()));
                } else {
                    assert!(matches!(result, Err(Error::Full { .. })));
                }
            }
            _ => {
                let removed = model.0.remove(&(first, length)).is_some();
                assert_eq!(set.change(|writer| writer.remove(item)), Ok(removed));
            }
        }
        assert_eq!(set.len(), model.0.len());
        let near = network(&mut random).0;
        for address in [first, first.wrapping_sub(1), near, near + 1] {
            let address = address & (u128::MAX >> (128 - bits));
            let longest = model.longest(address, bits);
            assert_eq!(set.matches(address), longest.is_some(), "round {round}, {address:x}");
            let found = set.look(|writer| writer.longest(address)).expect("not forked");
            assert_eq!(found, longest.map(|(first, length)| prefix(first, length)));
        }
    }
    let all: Vec<_> = model.0.keys().copied().collect();
    assert_eq!(ascending(&set), list(&all));
    assert!(waits.load(Ordering::Relaxed) < rounds / 20 + 10, "{waits:?} waits");
}

#[test]
fn networks_of_ip_behave() {
    for capacity in [1, 2, 20, 500, 9000] {
        networks_behave(Family::Ip, capacity, 10_000, capacity as u64);
    }
}

#[test]
fn networks_of_ip6_behave() {
    for capacity in [1, 2, 20, 500, 9000] {
        networks_behave(Family::Ip6, capacity, 10_000, capacity as u64 + 1);
    }
}

/// Ranges that leave a tree sparse, and a window of them that moves through it: nodes empty on one side and split on
/// the other.
#[test]
fn a_tree_survives_what_makes_it_sparse() {
    const CAPACITY: usize = 3000;
    let host = |number: u64| prefix(u128::from(number) << 8, 32);
    let (set, waits) = set(Structure::Ranges, Family::Ip, CAPACITY);
    for round in 0..60_000 {
        set.change(|writer| writer.insert(host(round))).expect("room");
        // Of 16 that are added 15 go at once; the one that stays goes when there are too many.
        if round % 16 != 0 {
            assert_eq!(set.change(|writer| writer.remove(host(round))), Ok(true));
        }
        let oldest = (round as usize / 16)
            .checked_sub(CAPACITY - 20)
            .map(|place| 16 * place as u64);
        if let Some(oldest) = oldest.filter(|_| round % 16 == 0) {
            assert_eq!(set.change(|writer| writer.remove(host(oldest))), Ok(true));
            assert!(!set.matches(u128::from(oldest) << 8));
        }
    }
    assert_eq!(
        set.len(),
        (0..60_000).step_by(16).count() - (60_000 / 16 - (CAPACITY - 20))
    );
    assert!(waits.load(Ordering::Relaxed) < 1000, "{waits:?} waits");
}

#[test]
fn all_networks_below_one_come_back_when_it_goes() {
    let (set, _) = set(Structure::Ranges, Family::Ip, 5001);
    let everything = prefix(0, 0);
    for number in 0..5000 {
        let item = prefix(number << 12, 24);
        assert_eq!(set.change(|writer| writer.insert(item)), Ok(true));
    }
    for _ in 0..3 {
        assert_eq!(set.change(|writer| writer.insert(everything)), Ok(true));
        assert!(set.matches(0xFFFF_FFFF) && set.matches(0));
        assert_eq!(set.change(|writer| writer.remove(everything)), Ok(true));
        for number in 0..5000 {
            assert!(set.matches((number << 12) + 255) && !set.matches((number << 12) + 256));
        }
    }
}

#[test]
fn a_set_moves_with_all_it_has() {
    let (set, _) = set(Structure::Hash, Family::Ip6, 1000);
    for key in 0..1000_u128 {
        set.change(|writer| writer.insert(Item::from(key << 70))).expect("room");
    }
    let reader = set.read();
    let old = reader.start();
    drop(reader);
    let words = set.shape().words();
    set.change(|writer| {
        writer.rehome(Box::new(Heap::new(words)));
        Ok(())
    })
    .expect("a move");
    assert_ne!(set.read().start(), old);
    for key in 0..1000 {
        assert!(set.matches(key << 70) && !set.matches((key << 70) + 1));
    }
    assert_eq!(set.change(|writer| writer.remove(Item::from(0_u64))), Ok(true));
    assert_eq!(set.change(|writer| writer.insert(Item::from(1_u64))), Ok(true));
    assert!(set.matches(1) && !set.matches(0));
}

#[test]
fn what_takes_long_is_not_done_now() {
    let (set, waits) = set(Structure::Hash, Family::Ip, 10);
    let replace = |key| {
        let items = Items::Numbers(vec![key]);
        move |writer: &mut dyn offramp_state::Writer| writer.replace(items)
    };
    assert_eq!(set.change_now(replace(1)), Err(Error::Busy));
    assert_eq!(set.change(replace(1)), Ok(()));
    assert_eq!(waits.load(Ordering::Relaxed), 0);
    assert_eq!(set.change(replace(2)), Ok(()));
    assert_eq!(waits.load(Ordering::Relaxed), 1);
    assert_eq!(set.change_now(|writer| writer.insert(Item::from(3_u64))), Ok(true));
    assert_eq!(ascending(&set), Items::Numbers(vec![2, 3]));
}

#[test]
fn ranges_that_are_no_networks_can_be_fixed() {
    let (set, _) = set(Structure::Ranges, Family::Ip, 2);
    set.change(|writer| writer.fix(&[(5, 9), (1000, 0xFFFF_FFFF)]))
        .expect("room");
    let inside = [5, 7, 9, 1000, 0xFFFF_FFFF];
    assert!(inside.iter().all(|&key| set.matches(key)));
    assert!([0, 4, 10, 999].iter().all(|&key| !set.matches(key)));
    assert!(set.change(|writer| writer.fix(&[(1, 2), (4, 5), (7, 8)])).is_err());
}
