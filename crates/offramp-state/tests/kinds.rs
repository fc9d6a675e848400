// SPDX-License-Identifier: Apache-2.0
//! Which kinds of sets there are, and that elements of one kind do not get into another.

use offramp_state::{Family, Heap, Item, Items, Prefix, Set, Shape, Structure};

const FAMILIES: [Family; 4] = [Family::Ip, Family::Ip6, Family::Port, Family::Ether];

fn set(structure: Structure, family: Family, capacity: usize) -> Set {
    let shape = Shape::new(structure, family, capacity).expect("a shape");
    Set::new(shape, Box::new(Heap::new(shape.words())), || 0)
}

#[test]
fn only_these_kinds_exist() {
    let kinds = |capacity| {
        let pairs = Structure::NAMED
            .iter()
            .flat_map(|&(name, structure)| FAMILIES.map(|family| (name, structure, family)));
        let shapes = pairs.filter_map(|(name, structure, family)| {
            let shape = Shape::new(structure, family, capacity)?;
            assert_eq!(
                (shape.structure(), shape.family(), shape.capacity()),
                (structure, family, capacity)
            );
            Some((name, family, shape.has_networks()))
        });
        shapes.collect::<Vec<_>>()
    };
    let for_any_capacity = [
        ("hash", Family::Ip, false),
        ("hash", Family::Ip6, false),
        ("hash", Family::Ether, false),
        ("ranges", Family::Ip, true),
        ("ranges", Family::Ip6, true),
    ];
    assert_eq!(kinds(10), for_any_capacity);
    assert_eq!(kinds(65_536)[0], ("bitmap", Family::Port, false));
    assert_eq!(kinds(65_536)[1..], for_any_capacity);
    assert_eq!(kinds(0), []);
    assert_eq!(kinds(1 << 29), []);
}

#[test]
fn an_address_alone_is_a_network_of_one() {
    let set = set(Structure::Ranges, Family::Ip, 10);
    assert_eq!(set.change(|writer| writer.insert(Item::from(7_u64))), Ok(true));
    let network = Prefix {
        first: 7_u32,
        length: 32,
    };
    assert_eq!(set.change(|writer| writer.insert(network.into())), Ok(false));
    assert_eq!(set.look(|writer| writer.longest(7)), Ok(Some(network.into())));
}

#[test]
#[should_panic(expected = "2 items of another kind than the set's")]
fn items_of_another_kind_are_refused() {
    let set = set(Structure::Hash, Family::Ip, 10);
    let _ = set.change(|writer| writer.extend(&Items::Wide(vec![1, 2])));
}
