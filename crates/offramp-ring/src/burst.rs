// SPDX-License-Identifier: Apache-2.0
//! Received packets in the application's hands.

use std::sync::Arc;

use crate::umem::{Frame, Packet, Pool};

/// The most packets in one burst.
pub const BURST: usize = 256;

/// One packet that outlives its burst because something still views it. Its frame is recycled when the last reference
/// goes.
pub struct Held {
    pool: Arc<Pool>,
    /// `None` only while dropping.
    packet: Option<Packet>,
}

impl Held {
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.packet.as_ref().map_or(&[], |packet| self.pool.bytes(packet))
    }

    fn packet(&self) -> Option<&Packet> {
        self.packet.as_ref()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pool.recycle(self.packet.take().map(Packet::into_frame));
    }
}

enum Slot {
    Owned(Packet),
    /// A view of it exists: it can be read, but no longer changed or sent.
    Shared(Arc<Held>),
    /// Sent.
    Gone,
}

/// Up to [`BURST`] packets of one queue. Dropping it recycles the frames that nothing else holds.
pub struct Burst {
    pool: Arc<Pool>,
    slots: Vec<Slot>,
    /// Which queue of its port the packets came in on.
    pub queue: usize,
    /// When they were taken from the ring, in nanoseconds since 1970; 0 if the clock was not read.
    pub time: u64,
    /// What was decided about each packet, if anything was.
    verdicts: Option<Vec<u8>>,
}

impl Burst {
    #[must_use]
    pub fn new(pool: Arc<Pool>, packets: impl IntoIterator<Item = Packet>) -> Self {
        Self {
            pool,
            slots: packets.into_iter().map(Slot::Owned).collect(),
            queue: 0,
            time: 0,
            verdicts: None,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The bytes of packet `row`, or `None` if it was sent.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn bytes(&self, row: usize) -> Option<&[u8]> {
        match &self.slots[row] {
            Slot::Owned(packet) => Some(self.pool.bytes(packet)),
            Slot::Shared(held) => Some(held.bytes()),
            Slot::Gone => None,
        }
    }

    fn packet(&self, row: usize) -> Option<&Packet> {
        match &self.slots[row] {
            Slot::Owned(packet) => Some(packet),
            Slot::Shared(held) => held.packet(),
            Slot::Gone => None,
        }
    }

    /// The length of packet `row` on the wire in bytes, or `None` if it was sent.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn wire_length(&self, row: usize) -> Option<u32> {
        let packet = self.packet(row)?;
        let metadata = self.pool.metadata(packet);
        Some(metadata.map_or(packet.len() as u32, |metadata| metadata.wire_length))
    }

    /// When packet `row` arrived, in nanoseconds since 1970. `None` if the packet was sent, or if its port does not
    /// know; then the burst's `time` counts.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn timestamp(&self, row: usize) -> Option<u64> {
        self.pool.metadata(self.packet(row)?)?.timestamp
    }

    /// What was decided about packet `row`, in XDP's numbers; `None` if nothing was.
    #[must_use]
    pub fn verdict(&self, row: usize) -> Option<u8> {
        self.verdicts.as_ref()?.get(row).copied()
    }

    /// Notes what was decided about each packet.
    ///
    /// # Panics
    /// If there are not as many verdicts as packets.
    pub fn decide(&mut self, verdicts: Vec<u8>) {
        assert_eq!(verdicts.len(), self.len(), "a verdict for each packet");
        self.verdicts = Some(verdicts);
    }

    /// A handle to packet `row` that may outlive the burst, or `None` if the packet was sent.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn share(&mut self, row: usize) -> Option<Arc<Held>> {
        let slot = &mut self.slots[row];
        *slot = match std::mem::replace(slot, Slot::Gone) {
            Slot::Owned(packet) => Slot::Shared(Arc::new(Held {
                pool: Arc::clone(&self.pool),
                packet: Some(packet),
            })),
            other => other,
        };
        match slot {
            Slot::Shared(held) => Some(Arc::clone(held)),
            _ => None,
        }
    }

    /// Takes sole possession of packet `row` again if no view of it is left. Returns whether the packet may be changed
    /// or sent.
    fn own(&mut self, row: usize) -> bool {
        let slot = &mut self.slots[row];
        *slot = match std::mem::replace(slot, Slot::Gone) {
            Slot::Shared(held) => match Arc::try_unwrap(held) {
                Ok(mut held) => held.packet.take().map_or(Slot::Gone, Slot::Owned),
                Err(held) => Slot::Shared(held),
            },
            other => other,
        };
        matches!(slot, Slot::Owned(_))
    }

    /// The bytes of packet `row`, to change; `None` if it is gone or a view of it exists.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn bytes_mut(&mut self, row: usize) -> Option<&mut [u8]> {
        self.own(row);
        match &mut self.slots[row] {
            Slot::Owned(packet) => Some(self.pool.bytes_mut(packet)),
            _ => None,
        }
    }

    /// Takes packet `row` out; `None` if it is gone or a view of it exists.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn take(&mut self, row: usize) -> Option<Packet> {
        self.own(row);
        match std::mem::replace(&mut self.slots[row], Slot::Gone) {
            Slot::Owned(packet) => Some(packet),
            other => {
                self.slots[row] = other;
                None
            }
        }
    }

    /// Exchanges two packets.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn swap(&mut self, one: usize, other: usize) {
        self.slots.swap(one, other);
        if let Some(verdicts) = &mut self.verdicts {
            verdicts.swap(one, other);
        }
    }

    /// Takes packet `row` out of the burst, even if views of it exist; those behind it move up.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn remove(&mut self, row: usize) {
        if let Slot::Owned(packet) = self.slots.remove(row) {
            self.pool.recycle([packet.into_frame()]);
        }
        if let Some(verdicts) = &mut self.verdicts {
            verdicts.remove(row);
        }
    }

    /// Puts packet `row` into the burst once more, right behind it. Both show the same frame: they are copied when
    /// sent.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn repeat(&mut self, row: usize) {
        if let Some(held) = self.share(row) {
            self.slots.insert(row + 1, Slot::Shared(held));
            if let Some(verdicts) = &mut self.verdicts {
                verdicts.insert(row + 1, verdicts[row]);
            }
        }
    }

    /// Cuts packet `row` to `length` bytes, unless it is gone or a view of it exists.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn truncate(&mut self, row: usize, length: usize) {
        self.own(row);
        if let Slot::Owned(packet) = &mut self.slots[row] {
            self.pool.truncate(packet, length);
        }
    }

    /// Puts back a packet that [`Self::take`] took, for example because the tx ring was full.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn put_back(&mut self, row: usize, packet: Packet) {
        self.slots[row] = Slot::Owned(packet);
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        let frames = self.slots.drain(..).filter_map(|slot| match slot {
            Slot::Owned(packet) => Some(packet.into_frame()),
            Slot::Shared(_) | Slot::Gone => None,
        });
        // Collected first: dropping a shared slot recycles its own frame, which takes the same lock.
        let frames: Vec<Frame> = frames.collect();
        self.pool.recycle(frames);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::umem::Heap;

    fn burst() -> Burst {
        let (pool, frames) = Pool::new(Box::new(Heap::new(4 * 2048)), 2048);
        let pool = Arc::new(pool);
        let packets: Vec<_> = frames
            .into_iter()
            .map(|frame| pool.packet(frame, 0, 60).unwrap())
            .collect();
        Burst::new(pool, packets)
    }

    #[test]
    fn a_view_keeps_its_own_frame_and_no_other() {
        let mut burst = burst();
        let pool = Arc::clone(burst.pool());
        let view = burst.share(1).unwrap();
        drop(burst);
        assert_eq!(pool.waiting(), 3);
        assert_eq!(view.bytes().len(), 60);
        drop(view);
        assert_eq!(pool.waiting(), 4);
    }

    #[test]
    fn a_viewed_packet_is_neither_changed_nor_sent_until_the_view_goes() {
        let mut burst = burst();
        let view = burst.share(0).unwrap();
        assert!(burst.bytes_mut(0).is_none());
        assert!(burst.take(0).is_none());
        assert!(burst.bytes(0).is_some());
        drop(view);
        assert!(burst.bytes_mut(0).is_some());
        let packet = burst.take(0).unwrap();
        assert!(burst.bytes(0).is_none());
        assert!(burst.share(0).is_none());
        burst.put_back(0, packet);
        assert!(burst.bytes(0).is_some());
    }

    #[test]
    fn packets_can_be_dropped_repeated_exchanged_and_cut() {
        let mut burst = burst();
        let pool = Arc::clone(burst.pool());
        for row in 0..4 {
            burst.bytes_mut(row).unwrap().fill(row as u8);
        }
        burst.decide(vec![10, 11, 12, 13]);
        burst.swap(0, 3);
        burst.remove(1);
        assert_eq!(pool.waiting(), 1);
        burst.repeat(1);
        burst.truncate(0, 20);
        let shown: Vec<_> = (0..burst.len())
            .map(|row| (burst.bytes(row).unwrap()[0], burst.bytes(row).unwrap().len()))
            .collect();
        assert_eq!(shown, [(3, 20), (2, 60), (2, 60), (0, 60)]);
        let verdicts: Vec<_> = (0..5).map(|row| burst.verdict(row)).collect();
        assert_eq!(verdicts, [Some(13), Some(12), Some(12), Some(10), None]);
        assert!(burst.bytes_mut(1).is_none(), "both show one frame");
        burst.remove(2);
        assert!(burst.bytes_mut(1).is_some());
        drop(burst);
        assert_eq!(pool.waiting(), 4);
    }
}
