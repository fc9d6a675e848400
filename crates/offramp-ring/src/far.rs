// SPDX-License-Identifier: Apache-2.0
//! The far side of the rings: what a kernel does behind an AF_XDP socket, for ports whose other side is in this process.
//!
//! ```text
//!   Queue   ── fill ──>  Arrivals    a lent frame is written to, and goes back through the rx ring
//!           <── rx ───
//!           ── tx ───>  Departures   a frame to send is read, and goes back through the completion ring
//!           <── completion ──
//! ```
//!
//! [`joined`] makes both sides of one set of rings at once, so that the addresses that arrive here are those of frames that this
//! very queue has lent, and of no others. A lent frame has no token: the near side cannot reach it until its address comes back.
//! The far side reads an address once, looks at the frame only while a closure runs, and then returns the address. So at each moment
//! one side alone has access, and the rings' release and acquire order what one side writes before what the other reads. The
//! two halves, and the queue, may be in different threads.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::metadata::{Arrival, METADATA, Metadata};
use crate::queue::{Queue, Rings};
use crate::ring::{Consumer, Descriptor, Producer, pair};
use crate::umem::{Pool, Region};

/// Where an arriving packet begins in its frame: the room that XDP leaves (`XDP_PACKET_HEADROOM`).
pub const HEADROOM: u32 = 256;

/// A frame that is lent for receiving: the bytes that a packet may be written to.
pub struct Lent<'a> {
    index: u32,
    bytes: &'a mut [u8],
}

impl Lent<'_> {
    /// Which frame of the pool it is.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index as usize
    }
}

impl Deref for Lent<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}

/// The far side of a queue.
pub struct FarSide {
    pub arrivals: Arrivals,
    pub departures: Departures,
}

/// The half that packets arrive through: consumer of the fill ring, producer of the rx ring.
pub struct Arrivals {
    pool: Arc<Pool>,
    fill: Consumer<u64>,
    rx: Producer<Descriptor>,
}

/// The half that packets leave through: consumer of the tx ring, producer of the completion ring.
pub struct Departures {
    pool: Arc<Pool>,
    tx: Consumer<Descriptor>,
    completion: Producer<u64>,
}

/// A queue over all of `region`, in frames of `frame_size` bytes, with four rings of `ring` entries; and their far side.
///
/// # Panics
/// If `frame_size` or `ring` is not a power of two.
#[must_use]
pub fn joined(region: Box<dyn Region>, frame_size: u32, ring: u32) -> (Queue, FarSide) {
    joined_at(region, frame_size, ring, 0)
}

/// As [`joined`], with indices that begin at `start`.
pub(crate) fn joined_at(region: Box<dyn Region>, frame_size: u32, ring: u32, start: u32) -> (Queue, FarSide) {
    let (pool, frames) = Pool::new(region, frame_size);
    let (fill, far_fill) = pair(ring, start);
    let (far_rx, rx) = pair(ring, start);
    let (tx, far_tx) = pair(ring, start);
    let (far_completion, completion) = pair(ring, start);
    let rings = Rings {
        fill,
        rx,
        tx,
        completion,
    };
    let queue = Queue::new(pool, frames, rings);
    let arrivals = Arrivals {
        pool: Arc::clone(queue.pool()),
        fill: far_fill,
        rx: far_rx,
    };
    let departures = Departures {
        pool: Arc::clone(queue.pool()),
        tx: far_tx,
        completion: far_completion,
    };
    (queue, FarSide { arrivals, departures })
}

/// Where `length` bytes at `address` of the pool's memory are.
fn place(pool: &Pool, address: u64, length: u32) -> NonNull<u8> {
    let region = pool.region();
    let fits = address
        .checked_add(length.into())
        .is_some_and(|end| end <= region.size() as u64);
    assert!(fits, "{length} bytes at {address} are outside the frames");
    // SAFETY: inside the region, as just checked.
    unsafe { region.start().add(address as usize) }
}

impl Arrivals {
    /// The largest packet that can arrive: a frame without its headroom.
    #[must_use]
    pub fn largest(&self) -> u32 {
        self.pool.frame_size().saturating_sub(HEADROOM)
    }

    /// Has `write` fill lent frames, until it says that there is nothing more, or no frame is lent, or the rx ring is full. A frame
    /// for which it says so stays lent. Returns how many packets have arrived.
    ///
    /// # Panics
    /// If `write` says that it wrote more than the frame holds. Then, as after a panic of its own, none has arrived.
    #[inline]
    pub fn deliver(&mut self, mut write: impl FnMut(&mut Lent<'_>) -> Option<Arrival>) -> usize {
        let (frame_size, largest) = (self.pool.frame_size(), self.largest());
        if largest == 0 {
            return 0;
        }
        let mut slots = self.rx.reserve(usize::MAX);
        let mut lent = self.fill.peek(slots.remaining());
        let mut arrived = 0;
        while let Some(frame) = lent.next() {
            let packet = place(&self.pool, frame + u64::from(HEADROOM), largest);
            // SAFETY: inside one frame that was lent and not yet returned, so that nobody else has access (see above); no
            // other borrow of it is alive.
            let bytes = unsafe { std::slice::from_raw_parts_mut(packet.as_ptr(), largest as usize) };
            let index = (frame >> frame_size.trailing_zeros()) as u32;
            let Some(arrival) = write(&mut Lent { index, bytes }) else {
                lent.unread();
                break;
            };
            assert!(arrival.captured <= largest, "more captured than the frame holds");
            let metadata = Metadata::of(&arrival);
            if let Some(metadata) = &metadata {
                // SAFETY: the headroom of the same frame lies before the packet, and is larger.
                unsafe { metadata.write(packet) };
            }
            slots.put(Descriptor {
                address: frame + u64::from(HEADROOM),
                length: arrival.captured,
                options: metadata.map_or(0, |_| METADATA),
            });
            arrived += 1;
        }
        lent.release();
        slots.submit();
        arrived
    }

    /// Lets a copy of `packet` arrive, cut to what a frame holds; false if no frame is lent or the rx ring is full.
    pub fn copy(&mut self, packet: &[u8], timestamp: Option<u64>) -> bool {
        let mut once = Some(packet);
        let copied = self.deliver(|frame| {
            let packet = once.take()?;
            let captured = packet.len().min(frame.len());
            frame[..captured].copy_from_slice(&packet[..captured]);
            Some(Arrival {
                captured: captured as u32,
                wire_length: packet.len() as u32,
                timestamp,
            })
        });
        copied > 0
    }
}

impl Departures {
    /// Shows `take` the frames that are to be sent, in order, until it refuses one, which stays in the ring with those behind it, or
    /// the completion ring is full. Those that it takes are sent. Returns how many.
    #[inline]
    pub fn drain(&mut self, mut take: impl FnMut(&[u8]) -> bool) -> usize {
        let mut done = self.completion.reserve(usize::MAX);
        let mut sent = self.tx.peek(done.remaining());
        let mut taken = 0;
        while let Some(Descriptor { address, length, .. }) = sent.next() {
            // SAFETY: inside the region. The frame was lent for sending and not yet returned, so that nobody writes to it.
            let bytes =
                unsafe { std::slice::from_raw_parts(place(&self.pool, address, length).as_ptr(), length as usize) };
            if !take(bytes) {
                sent.unread();
                break;
            }
            done.put(address);
            taken += 1;
        }
        sent.release();
        done.submit();
        taken
    }

    /// Whether nothing is to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tx.memory().is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests {
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
}
