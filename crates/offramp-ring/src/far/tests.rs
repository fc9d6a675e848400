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

/// A NIC that writes to memory of the port's own, keeps buffers as long as it likes, and is done with them in any
/// order.
struct Nic {
    memory: NonNull<u8>,
    posted: Vec<RxBuffer>,
    sending: Vec<TxBuffer>,
    chance: u64,
    written: u64,
    sent: Vec<u64>,
}

impl Nic {
    fn below(&mut self, limit: usize) -> usize {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.chance >> 33) as usize % limit
    }

    fn at(&self, address: u64) -> NonNull<u64> {
        // SAFETY: addresses of buffers lie in the memory.
        unsafe { self.memory.add(address as usize) }.cast()
    }

    fn work(&mut self, far: &mut FarSide) {
        self.posted.extend(std::iter::from_fn(|| far.arrivals.take()));
        self.sending.extend(std::iter::from_fn(|| far.departures.take()));
        for _ in 0..self.below(8) {
            if self.posted.is_empty() {
                break;
            }
            let number = self.below(self.posted.len());
            let buffer = self.posted.swap_remove(number);
            // SAFETY: whoever has the buffer may write to it.
            unsafe { self.at(buffer.address()).write_unaligned(self.written) };
            let arrival = Arrival {
                timestamp: Some(self.written),
                ..Arrival::whole(8)
            };
            match far.arrivals.put(buffer, &arrival) {
                Ok(()) => self.written += 1,
                Err(buffer) => self.posted.push(buffer),
            }
        }
        for _ in 0..self.below(8) {
            if self.sending.is_empty() {
                break;
            }
            let number = self.below(self.sending.len());
            let packet = self.sending.swap_remove(number);
            assert_eq!(packet.length(), 8);
            // SAFETY: whoever has the packet may read it.
            let value = unsafe { self.at(packet.address()).read_unaligned() };
            match far.departures.put(packet) {
                Ok(()) => self.sent.push(value),
                Err(packet) => self.sending.push(packet),
            }
        }
    }

    /// Each frame that it has, once.
    fn frames(&self) -> std::collections::BTreeSet<u64> {
        let posted = self.posted.iter().map(RxBuffer::address);
        let sending = self.sending.iter().map(TxBuffer::address);
        posted
            .chain(sending)
            .map(|address| address / u64::from(FRAME))
            .collect()
    }
}

#[test]
fn addresses_are_kept_and_returned_later_in_any_order() {
    let memory = Heap::new((32 * FRAME) as usize);
    let mut nic = Nic {
        memory: memory.start(),
        posted: Vec::new(),
        sending: Vec::new(),
        chance: 1,
        written: 0,
        sent: Vec::new(),
    };
    let (mut queue, mut far) = joined_at(Box::new(memory), FRAME, 8, u32::MAX - 3);
    let (mut received, mut forwarded) = (0, Vec::new());
    for turn in 0..if cfg!(miri) { 200 } else { 20_000 } {
        queue.refill();
        nic.work(&mut far);
        assert_eq!(
            nic.frames().len(),
            nic.posted.len() + nic.sending.len(),
            "no frame twice"
        );
        if turn % 3 > 0 {
            continue; // so that rings fill up
        }
        queue.reap();
        let mut burst = queue.receive(BURST).unwrap();
        for row in 0..burst.len() {
            assert_eq!(burst.bytes(row).unwrap(), u64::to_ne_bytes(received));
            assert_eq!(burst.timestamp(row), Some(received));
            if queue.transmit(&mut burst, &[row as u16]) == 1 {
                forwarded.push(received);
            }
            received += 1;
        }
    }
    while queue.reap() > 0 {
        nic.work(&mut far);
    }
    assert!(forwarded.len() > 50 && !nic.sent.is_sorted());
    nic.sent.sort_unstable();
    assert_eq!(nic.sent, forwarded, "each was sent once");
    assert_eq!((queue.received(), queue.strays()), (received, 0));
    let places = queue.places();
    assert_eq!(
        (places.free + places.filling, places.application),
        (32, 0),
        "none is lost"
    );
}

#[test]
fn a_full_ring_gives_the_buffer_back_and_queues_do_not_mix() {
    let (mut queue, mut far) = near_and_far(8, 4);
    let mut taken = Vec::new();
    for _ in 0..2 {
        queue.refill();
        taken.extend(std::iter::from_fn(|| far.arrivals.take()));
    }
    assert_eq!(taken.len(), 8);
    let refused = taken
        .into_iter()
        .rev()
        .map(|buffer| far.arrivals.put(buffer, &Arrival::whole(1)));
    let mut refused: Vec<RxBuffer> = refused.filter_map(Result::err).collect();
    assert_eq!(refused.len(), 4);
    assert_eq!(queue.receive(BURST).unwrap().len(), 4);
    let buffer = refused.pop().unwrap();
    assert!(far.arrivals.put(buffer, &Arrival::whole(1)).is_ok());
    let (_other_queue, mut other) = near_and_far(8, 4);
    let buffer = refused.pop().unwrap();
    let mixed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        other.arrivals.put(buffer, &Arrival::whole(1))
    }));
    assert!(mixed.is_err());
}
