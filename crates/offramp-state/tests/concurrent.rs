// SPDX-License-Identifier: Apache-2.0
//! One writer, two readers: a member that stays is always found, and what was never a member never.
//!
//! Why that holds is argued in src/lib.rs and beside each ordering; here it is tried. Some keys stay, some come and go,
//! some never come, and all of them crowd in small sets, so that everything happens often: slots reused, halves
//! changed, nodes split and reused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use offramp_state::{Error, Family, Heap, Item, Items, Set, Shape, Structure, Writer};

const STAYING: u64 = 40;
const COMING: u64 = 100;
const ROUNDS: u64 = 30_000;

fn item(shape: Shape, key: u64) -> Item {
    spread(shape, key).into()
}

/// Neighbours in the tree, and both halves of a wide key in use.
fn spread(shape: Shape, key: u64) -> u128 {
    match shape.family() {
        Family::Ip6 => u128::from(key % 8) << 64 | u128::from(key / 8 * 2),
        Family::Port => u128::from(key),
        _ => u128::from(2 * key),
    }
}

fn items(shape: Shape, keys: impl Iterator<Item = u64>) -> Items {
    let mut items = Items::new(shape);
    keys.for_each(|key| items.push(item(shape, key)).expect("memory"));
    items
}

/// Changes one of those that come and go; now and then all of them.
fn change(shape: Shape, writer: &mut dyn Writer, round: u64) -> Result<(), Error> {
    let key = STAYING + round.wrapping_mul(0x9E37_79B9_7F4A_7C15) % COMING;
    match round % 64 {
        0 => {
            let keys = (0..STAYING).chain((STAYING..STAYING + COMING).filter(|key| key % 3 == round / 64 % 3));
            writer.replace(items(shape, keys))
        }
        odd if odd % 2 == 1 => writer.insert(item(shape, key)).map(drop),
        _ => writer.remove(item(shape, key)).map(drop),
    }
}

fn never_wrong(structure: Structure, family: Family) {
    let capacity = if structure == Structure::Bitmap { 65536 } else { 150 };
    let shape = Shape::new(structure, family, capacity).expect("a shape");
    let set = Arc::new(Set::new(shape, Box::new(Heap::new(shape.words())), || 0));
    let staying = items(shape, 0..STAYING);
    set.change(|writer| writer.extend(&staying)).expect("room");
    let done = AtomicBool::new(false);
    let looks = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut count = 0;
                while !done.load(Ordering::Relaxed) {
                    for key in 0..STAYING {
                        assert!(set.matches(spread(shape, key)), "{key} stayed");
                        let never = STAYING + COMING + key;
                        assert!(!set.matches(spread(shape, never)), "{never} was never there");
                    }
                    count += 2 * STAYING;
                }
                looks.fetch_add(count, Ordering::Relaxed);
            });
        }
        for round in 0..ROUNDS {
            set.change(|writer| change(shape, writer, round)).expect("room");
            if round % 5000 == 0 {
                set.change(|writer| {
                    writer.rehome(Box::new(Heap::new(shape.words())));
                    Ok(())
                })
                .expect("a move");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(looks.load(Ordering::Relaxed) > 0);
}

#[test]
fn bitmaps_are_never_wrong() {
    never_wrong(Structure::Bitmap, Family::Port);
}

#[test]
fn hashes_are_never_wrong() {
    never_wrong(Structure::Hash, Family::Ip);
    never_wrong(Structure::Hash, Family::Ip6);
}

#[test]
fn ranges_are_never_wrong() {
    never_wrong(Structure::Ranges, Family::Ip);
    never_wrong(Structure::Ranges, Family::Ip6);
}

/// A network above all others comes and goes: those below never go, although they leave the tree and come back.
#[test]
fn what_is_below_a_network_stays_when_it_goes() {
    let shape = Shape::new(Structure::Ranges, Family::Ip, 200).expect("a shape");
    let set = Arc::new(Set::new(shape, Box::new(Heap::new(shape.words())), || 0));
    let below = items(shape, 0..STAYING);
    set.change(|writer| writer.extend(&below)).expect("room");
    let above = Item {
        value: 0,
        length: Some(20),
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!((0..STAYING).all(|key| set.matches(spread(shape, key))));
                assert!(!set.matches(1 << 20));
            }
        });
        for _ in 0..ROUNDS {
            assert_eq!(set.change(|writer| writer.insert(above)), Ok(true));
            assert_eq!(set.change(|writer| writer.remove(above)), Ok(true));
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// What is replaced is replaced as a whole, also in one look-up after another if they read the same memory: here, with
/// a reader that looks at all keys of one half, which a change must not touch until it has left.
#[test]
fn what_a_reader_has_begun_with_stays() {
    let shape = Shape::new(Structure::Hash, Family::Ip, 100).expect("a shape");
    let set = Arc::new(Set::new(shape, Box::new(Heap::new(shape.words())), || 0));
    set.change(|writer| writer.replace(Items::Numbers(vec![1])))
        .expect("room");
    let reader = set.read();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let set = &set;
        scope.spawn(move || {
            set.change(|writer| writer.replace(Items::Numbers(vec![2])))
                .expect("the first, after a wait");
            sender.send(()).expect("a receiver");
        });
        // The half before the last `replace` may not be written while somebody reads.
        thread::sleep(std::time::Duration::from_millis(50));
        assert!(receiver.try_recv().is_err());
        assert!(set.matches(1) && !set.matches(2));
        drop(reader);
        receiver.recv().expect("the change");
        assert!(set.matches(2) && !set.matches(1));
    });
}
