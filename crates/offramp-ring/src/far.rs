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
//!
//! A NIC writes to frames by itself, and later. For it, `take` hands an address out as a token ([`RxBuffer`],
//! [`TxBuffer`]) that cannot be copied, and `put` takes the token back, at any time and in any order. So here, too, no
//! frame can be returned twice, and none that was not lent.

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

/// A frame that was taken to be received into, for example by a NIC. If it is dropped, the frame is lost to its queue:
/// a NIC may still write to it.
#[derive(Debug)]
#[must_use]
pub struct RxBuffer {
    frame: u64,
    pool: u32,
}

impl RxBuffer {
    /// Where the packet has to begin, relative to the region: behind the headroom.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.frame + u64::from(HEADROOM)
    }
}

/// A packet that was taken to be sent. If it is dropped, its frame is lost to its queue: a NIC may still read it.
#[derive(Debug)]
#[must_use]
pub struct TxBuffer {
    address: u64,
    length: u32,
    pool: u32,
}

impl TxBuffer {
    /// Where the packet begins, relative to the region.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// The packet's length in bytes.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
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

/// The descriptor of a packet at `address`, which is at `packet` in memory. What else is known goes in front of it.
///
/// # Safety
/// The headroom in front of `packet` belongs to its frame, and nobody else has access to it.
#[inline]
unsafe fn described(address: u64, packet: NonNull<u8>, arrival: &Arrival) -> Descriptor {
    let metadata = Metadata::of(arrival);
    if let Some(metadata) = metadata {
        // SAFETY: by this function's contract; the headroom is larger.
        unsafe { metadata.write(packet) };
    }
    Descriptor {
        address,
        length: arrival.captured,
        options: metadata.map_or(0, |_| METADATA),
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
            // SAFETY: the headroom of the same frame lies before the packet.
            slots.put(unsafe { described(frame + u64::from(HEADROOM), packet, &arrival) });
            arrived += 1;
        }
        lent.release();
        slots.submit();
        arrived
    }

    /// Takes a lent frame, to be filled by somebody else: [`Self::put`] lets the packet arrive. `None` if no frame is
    /// lent, or frames are too small for any packet.
    pub fn take(&mut self) -> Option<RxBuffer> {
        if self.largest() == 0 {
            return None;
        }
        let mut lent = self.fill.peek(1);
        let frame = lent.next()?;
        lent.release();
        let pool = self.pool.id();
        Some(RxBuffer { frame, pool })
    }

    /// Lets the packet arrive that was written to `buffer`; nobody writes to it any more. Buffers may come back in any
    /// order: packets arrive in the order of these calls. `Err` returns the buffer if the rx ring is full.
    ///
    /// # Panics
    /// If the buffer is of another queue, or `arrival` says that more was written than the frame holds.
    pub fn put(&mut self, buffer: RxBuffer, arrival: &Arrival) -> Result<(), RxBuffer> {
        assert_eq!(buffer.pool, self.pool.id(), "a buffer of another queue");
        assert!(arrival.captured <= self.largest(), "more captured than the frame holds");
        let mut slots = self.rx.reserve(1);
        if slots.remaining() == 0 {
            return Err(buffer);
        }
        let packet = Memory::of(&self.pool).at(buffer.address(), arrival.captured);
        // SAFETY: the headroom lies before the packet. The frame was lent and not yet returned: there is one token.
        slots.put(unsafe { described(buffer.address(), packet, arrival) });
        slots.submit();
        Ok(())
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

    /// Takes the next packet that is to be sent, for somebody who sends it later: [`Self::put`] says that it is done.
    pub fn take(&mut self) -> Option<TxBuffer> {
        let mut sent = self.tx.peek(1);
        let Descriptor { address, length, .. } = sent.next()?;
        sent.release();
        let pool = self.pool.id();
        Some(TxBuffer { address, length, pool })
    }

    /// Gives the frame of a packet back that was sent; nobody reads it any more. The order does not matter. `Err`
    /// returns the packet if the completion ring is full.
    ///
    /// # Panics
    /// If the packet is of another queue.
    pub fn put(&mut self, packet: TxBuffer) -> Result<(), TxBuffer> {
        assert_eq!(packet.pool, self.pool.id(), "a packet of another queue");
        let mut done = self.completion.reserve(1);
        if done.remaining() == 0 {
            return Err(packet);
        }
        done.put(packet.address);
        done.submit();
        Ok(())
    }

    /// Whether nothing is to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tx.memory().is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests;
