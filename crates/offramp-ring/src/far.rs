// SPDX-License-Identifier: Apache-2.0
//! The far side of the rings: what a kernel does behind an AF_XDP socket, for ports whose other side is in this
//! process.
//!
//! ```text
//!   Queue   ── fill ──>  Arrivals    a lent frame is written to, and goes back through the rx ring
//!           <── rx ───
//!           ── tx ───>  Departures   a frame to send is read, and goes back through the completion ring
//!           <── completion ──
//! ```
//!
//! [`joined`] makes both sides of one set of rings at once. So the addresses that arrive here are those of frames that
//! this very queue has lent, and no others. A lent frame has no token: the near side cannot reach it until its address
//! comes back. The far side reads an address once, looks at the frame only while a closure runs, and then returns the
//! address. So only one side has access at each moment, and the release and acquire of the rings order what one side
//! writes before what the other reads. The two halves and the queue may be in different threads.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::metadata::{Arrival, METADATA, Metadata};
use crate::queue::{Queue, Rings};
use crate::ring::{Consumer, Descriptor, Producer, pair};
use crate::umem::{Pool, Region};

/// Where an arriving packet begins in its frame: the room that XDP leaves (`XDP_PACKET_HEADROOM`).
pub const HEADROOM: u32 = 256;

/// A frame that is lent for receiving: bytes that a packet may be written to.
pub struct Lent<'a> {
    index: u32,
    bytes: &'a mut [u8],
}

impl Lent<'_> {
    /// The number of the frame in the pool.
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

/// Makes a queue over all of `region`, in frames of `frame_size` bytes with four rings of `ring` entries, and its far
/// side.
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

/// The pool's memory, for the duration of one call.
struct Memory<'a> {
    start: NonNull<u8>,
    size: u64,
    _pool: PhantomData<&'a Pool>,
}

impl<'a> Memory<'a> {
    fn of(pool: &'a Pool) -> Self {
        let region = pool.region();
        Self {
            start: region.start(),
            size: region.size() as u64,
            _pool: PhantomData,
        }
    }

    /// The place of `length` bytes at `address`.
    #[inline]
    fn at(&self, address: u64, length: u32) -> NonNull<u8> {
        let fits = address.checked_add(length.into()).is_some_and(|end| end <= self.size);
        assert!(fits, "{length} bytes at {address} are outside the frames");
        // SAFETY: inside the region, as just checked.
        unsafe { self.start.add(address as usize) }
    }
}

impl Arrivals {
    /// The largest packet that can arrive: a frame without its headroom.
    #[must_use]
    pub fn largest(&self) -> u32 {
        self.pool.frame_size().saturating_sub(HEADROOM)
    }

    /// Lets `write` fill lent frames until it says that there is no more, or no frame is lent, or the rx ring is full.
    /// The frame at which it says so stays lent. Returns how many packets have arrived.
    ///
    /// # Panics
    /// If `write` says that it wrote more than the frame holds. Then, or if `write` itself panics, no packet has
    /// arrived.
    #[inline]
    pub fn deliver(&mut self, mut write: impl FnMut(&mut Lent<'_>) -> Option<Arrival>) -> usize {
        let (frame_size, largest) = (self.pool.frame_size(), self.largest());
        if largest == 0 {
            return 0;
        }
        let memory = Memory::of(&self.pool);
        let mut slots = self.rx.reserve(usize::MAX);
        let mut lent = self.fill.peek(slots.remaining());
        let mut arrived = 0;
        while let Some(frame) = lent.next() {
            let packet = memory.at(frame + u64::from(HEADROOM), largest);
            // SAFETY: inside one frame that was lent and not yet returned, so that nobody else has access (see above);
            // no other borrow of it is alive.
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

    /// Lets a copy of `packet` arrive, cut to what a frame holds. False if no frame is lent or the rx ring is full.
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
    /// Shows `take` the frames that are to be sent, in order, until it refuses one or the completion ring is full. A
    /// refused frame stays in the ring with those behind it. The frames that it takes are sent. Returns how many.
    #[inline]
    pub fn drain(&mut self, mut take: impl FnMut(&[u8]) -> bool) -> usize {
        let memory = Memory::of(&self.pool);
        let mut done = self.completion.reserve(usize::MAX);
        let mut sent = self.tx.peek(done.remaining());
        let mut taken = 0;
        while let Some(Descriptor { address, length, .. }) = sent.next() {
            // SAFETY: inside the region. The frame was lent for sending and not yet returned, so that nobody writes to
            // it.
            let bytes = unsafe { std::slice::from_raw_parts(memory.at(address, length).as_ptr(), length as usize) };
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
pub(crate) mod tests;
