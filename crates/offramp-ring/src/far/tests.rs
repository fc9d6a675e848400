// SPDX-License-Identifier: Apache-2.0
//! The far side, with plain memory and integers: whole and cut packets, the wrap, full rings, what is refused.

use super::*;
use crate::BURST;
use crate::umem::Heap;

const FRAME: u32 = 2048;

/// A queue whose indices wrap soon.
pub(crate) fn near_and_far(frames: u32, ring: u32) -> (Queue, FarSide) {
    joined_at(
        Box::new(Heap::new((frames * FRAME) as usize)),
        FRAME,
        ring,
        u32::MAX - 3,
    )
}

impl Arrivals {
    /// A descriptor that a confused kernel puts into the rx ring.
    pub(crate) fn forge(&mut self, address: u64, length: u32) {
        let mut slots = self.rx.reserve(1);
        slots.put(Descriptor {
            address,
            length,
            options: 0,
        });
        slots.submit();
    }
}

#[test]
fn packets_arrive_whole_in_order_and_across_the_wrap() {
    let (mut queue, mut far) = near_and_far(16, 8);
    for turn in 0..40_u8 {
        queue.refill();
        let mut number = 0;
        let arrived = far.arrivals.deliver(|frame| {
            number += 1;
            frame[..3].fill(turn + number);
            (number <= 3).then_some(Arrival::whole(3))
        });
        assert_eq!(arrived, 3);
        let burst = queue.receive(BURST).unwrap();
        let bytes: Vec<_> = (0..3).map(|row| burst.bytes(row).unwrap()[0]).collect();
        assert_eq!(bytes, [turn + 1, turn + 2, turn + 3]);
        assert_eq!((burst.wire_length(0), burst.timestamp(0)), (Some(3), None));
    }
    assert_eq!((queue.received(), queue.strays()), (120, 0));
}

#[test]
fn a_full_ring_and_a_lack_of_frames_end_the_delivery_and_lose_nothing() {
    let (mut queue, mut far) = near_and_far(4, 8);
    assert!(!far.arrivals.copy(b"nothing is lent yet", None));
    queue.refill();
    assert_eq!(far.arrivals.deliver(|_| Some(Arrival::whole(1))), 4);
    assert!(!far.arrivals.copy(b"all frames wait in the rx ring", None));
    assert_eq!(queue.receive(BURST).unwrap().len(), 4);

    let (mut queue, mut far) = near_and_far(16, 4);
    queue.refill();
    assert_eq!(far.arrivals.deliver(|_| Some(Arrival::whole(1))), 4);
    queue.refill();
    assert_eq!(
        far.arrivals.deliver(|_| Some(Arrival::whole(1))),
        0,
        "the rx ring is full"
    );
    assert_eq!(queue.receive(BURST).unwrap().len(), 4);
    assert_eq!(far.arrivals.deliver(|_| Some(Arrival::whole(1))), 4);
}

#[test]
fn a_frame_that_was_not_filled_stays_lent() {
    let (mut queue, mut far) = near_and_far(4, 4);
    queue.refill();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let none = far.arrivals.deliver(|frame| {
            seen.push(frame.index());
            None
        });
        assert_eq!(none, 0);
    }
    assert_eq!(seen, [seen[0]; 3]);
    assert_eq!(far.arrivals.deliver(|_| Some(Arrival::whole(1))), 4);
    assert_eq!(queue.receive(BURST).unwrap().len(), 4);
}

#[test]
fn a_packet_that_was_cut_says_so_and_has_its_time() {
    let (mut queue, mut far) = near_and_far(4, 4);
    queue.refill();
    assert!(far.arrivals.copy(&[7; 4000], Some(99)));
    assert!(far.arrivals.copy(&[8; 60], None));
    let burst = queue.receive(BURST).unwrap();
    assert_eq!(burst.bytes(0).unwrap(), [7; (FRAME - HEADROOM) as usize]);
    assert_eq!((burst.wire_length(0), burst.timestamp(0)), (Some(4000), Some(99)));
    assert_eq!((burst.wire_length(1), burst.timestamp(1)), (Some(60), None));
}

#[test]
fn a_closure_that_panics_has_delivered_nothing() {
    let (mut queue, mut far) = near_and_far(4, 4);
    queue.refill();
    let too_many = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        far.arrivals.deliver(|_| Some(Arrival::whole(FRAME)))
    }));
    assert!(too_many.is_err());
    assert_eq!(queue.receive(BURST).unwrap().len(), 0);
    assert_eq!(far.arrivals.deliver(|_| Some(Arrival::whole(1))), 4);
}

#[test]
fn a_frame_that_is_refused_stays_first_in_line() {
    let (mut queue, mut far) = near_and_far(8, 4);
    for text in [b"one", b"two", b"six"] {
        assert!(queue.copy(text));
    }
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut take = |frame: &[u8]| {
        seen.push(frame.to_vec());
        seen.len() != 2
    };
    assert_eq!(far.departures.drain(&mut take), 1);
    assert_eq!(queue.reap(), 2);
    assert_eq!(far.departures.drain(&mut take), 2);
    assert_eq!(seen, [b"one", b"two", b"two", b"six"]);
    assert_eq!(queue.reap(), 0);
    assert!(far.departures.is_empty());
    assert_eq!(queue.sent(), (3, 3));
}

#[test]
fn frames_too_small_for_any_packet_receive_none() {
    let (mut queue, mut far) = joined(Box::new(Heap::new(2048)), 256, 4);
    queue.refill();
    assert_eq!(far.arrivals.deliver(|_| Some(Arrival::whole(0))), 0);
    assert!(queue.copy(&[1; 256]));
}

#[test]
fn the_two_sides_may_be_in_two_threads() {
    let count = if cfg!(miri) { 100 } else { 50_000_u32 };
    let (mut queue, mut far) = near_and_far(64, 16);
    let echo = std::thread::spawn(move || {
        let mut echoed = 0;
        while echoed < count {
            let FarSide { arrivals, departures } = &mut far;
            echoed += departures.drain(|frame| arrivals.copy(frame, None)) as u32;
        }
    });
    let (mut sent, mut expected) = (0, 0);
    while expected < count {
        queue.refill();
        while sent < count && queue.copy(&sent.to_ne_bytes()) {
            sent += 1;
        }
        queue.reap();
        let burst = queue.receive(BURST).unwrap();
        for row in 0..burst.len() {
            assert_eq!(burst.bytes(row).unwrap(), expected.to_ne_bytes());
            expected += 1;
        }
    }
    echo.join().unwrap();
    assert_eq!(queue.strays(), 0);
}
