// SPDX-License-Identifier: Apache-2.0
//! One queue: its four rings, its frames, and the moves between them. A kernel or a test may be on the kernel's side.

use std::sync::Arc;

use crate::burst::{BURST, Burst};
use crate::metadata::METADATA;
use crate::ring::{Consumer, Descriptor, Producer};
use crate::umem::{Custody, Frame, Loan, Packet, Pool};

/// The four rings of an AF_XDP socket; our side of each.
pub struct Rings {
    pub fill: Producer<u64>,
    pub rx: Consumer<Descriptor>,
    pub tx: Producer<Descriptor>,
    pub completion: Consumer<u64>,
}

/// Too few frames are left for the kernel to fill: the application holds `held` of `frames`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Starved {
    pub held: u32,
    pub frames: u32,
}

/// How many frames are in which place. The sum is the number of frames of the umem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    pub free: u32,
    /// In the fill ring, in the driver, or in the rx ring.
    pub filling: u32,
    /// In the tx ring, in the driver, or in the completion ring.
    pub sending: u32,
    pub application: u32,
}

/// Frames and rings of one queue. One thread at a time owns it.
pub struct Queue {
    pool: Arc<Pool>,
    free: Vec<Frame>,
    custody: Custody,
    rings: Rings,
    /// The queue is starved if fewer frames than this are lent for receiving and none is free.
    low_water: u32,
    largest: u32,
    received: u64,
    sent: u64,
    completed: u64,
    strays: u64,
}

impl Queue {
    /// A queue over `pool`; all frames of the pool are free.
    #[must_use]
    pub fn new(pool: Pool, free: Vec<Frame>, rings: Rings) -> Self {
        let custody = Custody::new(&pool);
        let low_water = (BURST as u32).min(pool.frames() / 8).max(1);
        let largest = pool.frame_size();
        let pool = Arc::new(pool);
        Self {
            pool,
            free,
            custody,
            rings,
            low_water,
            largest,
            received: 0,
            sent: 0,
            completed: 0,
            strays: 0,
        }
    }

    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    #[must_use]
    pub fn rings(&self) -> &Rings {
        &self.rings
    }

    /// Packets handed to the application so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets put into the tx ring so far, and how many of them the kernel has reported as done.
    #[must_use]
    pub fn sent(&self) -> (u64, u64) {
        (self.sent, self.completed)
    }

    /// Addresses that the kernel returned although it had not been lent them. Always 0 unless something is badly wrong.
    #[must_use]
    pub fn strays(&self) -> u64 {
        self.strays
    }

    #[must_use]
    pub fn places(&self) -> Places {
        let free = u32::try_from(self.free.len() + self.pool.waiting()).unwrap_or(u32::MAX);
        let (filling, sending) = (self.custody.filling(), self.custody.sending());
        Places {
            free,
            filling,
            sending,
            application: self.pool.frames() - free - filling - sending,
        }
    }

    /// Whether the kernel has frames to send, or has sent some that were not taken back yet.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.custody.sending() > 0
    }

    /// Lends free frames to the kernel, as many as fit into the fill ring.
    pub fn refill(&mut self) {
        self.pool.collect(&mut self.free);
        let mut slots = self.rings.fill.reserve(self.free.len());
        let keep = self.free.len() - slots.remaining();
        for frame in self.free.drain(keep..).rev() {
            slots.put(self.custody.lend(frame, Loan::Fill));
        }
        slots.submit();
    }

    /// Up to `most` packets that have arrived; finding none is not an error. Call [`Self::refill`] first, or the kernel
    /// runs out of frames.
    ///
    /// # Errors
    /// [`Starved`] if nothing can arrive because the application holds the frames.
    pub fn receive(&mut self, most: usize) -> Result<Burst, Starved> {
        let mut descriptors = self.rings.rx.peek(most.min(BURST));
        let mut packets = Vec::with_capacity(descriptors.len());
        for descriptor in descriptors.by_ref() {
            let packet = self
                .custody
                .reclaim(descriptor.address, Loan::Fill)
                .map(|(frame, offset)| {
                    let packet = self.pool.packet(frame, offset, descriptor.length);
                    packet.map_err(|frame| self.free.push(frame)).ok()
                });
            match packet.flatten() {
                Some(packet) if descriptor.options & METADATA != 0 => packets.push(packet.described()),
                Some(packet) => packets.push(packet),
                None => self.strays += 1,
            }
        }
        descriptors.release();
        if packets.is_empty() && self.is_starved() {
            return Err(Starved {
                held: self.places().application,
                frames: self.pool.frames(),
            });
        }
        self.received += packets.len() as u64;
        Ok(Burst::new(Arc::clone(&self.pool), packets))
    }

    /// Nothing is left to fill, and the application has it rather than the tx ring.
    fn is_starved(&self) -> bool {
        let places = self.places();
        places.filling < self.low_water && places.free == 0 && places.application > places.sending
    }

    /// The largest frame that can be sent, in bytes.
    #[must_use]
    pub fn largest(&self) -> u32 {
        self.largest
    }

    /// Lowers the limit of what can be sent, for a far side that takes less.
    #[must_use]
    pub fn with_largest(self, largest: u32) -> Self {
        let largest = self.largest.min(largest);
        Self { largest, ..self }
    }

    /// Puts the packets at `rows` of `burst` into the tx ring. A frame of this queue is moved, any other is copied.
    /// Returns how many of `rows` were taken, in order: fewer if the ring or the free list is exhausted, or a row
    /// cannot be sent.
    pub fn transmit(&mut self, burst: &mut Burst, rows: &[u16]) -> usize {
        let own = Arc::ptr_eq(burst.pool(), &self.pool);
        let mut taken = 0;
        for &row in rows {
            let row = usize::from(row);
            let moved = if own { burst.take(row) } else { None };
            let accepted = match moved {
                Some(packet) => match self.push(packet) {
                    Ok(()) => true,
                    Err(packet) => {
                        burst.put_back(row, packet);
                        false
                    }
                },
                None => burst.bytes(row).is_some_and(|bytes| self.copy(bytes)),
            };
            if !accepted {
                break;
            }
            taken += 1;
        }
        taken
    }

    /// Copies a frame into the tx ring. False if the ring is full, no frame is free, or it is larger than a frame.
    pub fn copy(&mut self, bytes: &[u8]) -> bool {
        if self.free.is_empty() {
            self.pool.collect(&mut self.free);
        }
        let (Some(frame), Ok(length)) = (self.free.pop(), u32::try_from(bytes.len())) else {
            return false;
        };
        let mut packet = match self.pool.packet(frame, 0, length) {
            Ok(packet) => packet,
            Err(frame) => {
                self.free.push(frame);
                return false;
            }
        };
        self.pool.bytes_mut(&mut packet).copy_from_slice(bytes);
        match self.push(packet) {
            Ok(()) => true,
            Err(packet) => {
                self.free.push(packet.into_frame());
                false
            }
        }
    }

    fn push(&mut self, packet: Packet) -> Result<(), Packet> {
        let mut slots = self.rings.tx.reserve(1);
        if slots.remaining() == 0 {
            return Err(packet);
        }
        let address = self.pool.address(&packet);
        let length = packet.len() as u32;
        self.custody.lend(packet.into_frame(), Loan::Tx);
        slots.put(Descriptor {
            address,
            length,
            options: 0,
        });
        slots.submit();
        self.sent += 1;
        Ok(())
    }

    /// Takes back the frames that the kernel has sent. Returns how many are still with it.
    pub fn reap(&mut self) -> u32 {
        let mut addresses = self.rings.completion.peek(usize::MAX);
        for address in addresses.by_ref() {
            match self.custody.reclaim(address, Loan::Tx) {
                Some((frame, _)) => {
                    self.completed += 1;
                    self.free.push(frame);
                }
                None => self.strays += 1,
            }
        }
        addresses.release();
        self.custody.sending()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::far::FarSide;
    use crate::far::tests::near_and_far;
    use crate::metadata::Arrival;

    const FRAME: u32 = 2048;

    impl FarSide {
        fn deliver(&mut self, most: usize) -> usize {
            let mut left = most;
            self.arrivals.deliver(|_| {
                left = left.checked_sub(1)?;
                Some(Arrival::whole(60))
            })
        }

        fn send_all(&mut self) -> Vec<usize> {
            let mut lengths = Vec::new();
            self.departures.drain(|frame| {
                lengths.push(frame.len());
                true
            });
            lengths
        }
    }

    fn total(queue: &Queue) -> u32 {
        let places = queue.places();
        places.free + places.filling + places.sending + places.application
    }

    #[test]
    fn packets_go_round_and_every_frame_stays_accounted_for() {
        let (mut queue, mut kernel) = near_and_far(16, 8);
        queue.refill();
        for _ in 0..50 {
            queue.refill();
            assert_eq!(kernel.deliver(3), 3);
            let mut burst = queue.receive(BURST).unwrap();
            assert_eq!(burst.len(), 3);
            assert_eq!(queue.transmit(&mut burst, &[0, 2]), 2);
            assert_eq!(total(&queue), 16);
            drop(burst);
            assert_eq!(kernel.send_all().len(), 2);
            assert_eq!(queue.reap(), 0);
        }
        assert_eq!((queue.received(), queue.sent(), queue.strays()), (150, (100, 100), 0));
        assert_eq!(queue.places().application, 0);
    }

    #[test]
    fn an_application_that_holds_everything_is_told_so_and_recovers() {
        let (mut queue, mut kernel) = near_and_far(16, 8);
        let mut held = Vec::new();
        let starved = loop {
            queue.refill();
            kernel.deliver(8);
            match queue.receive(BURST) {
                Ok(burst) => held.push(burst),
                Err(starved) => break starved,
            }
        };
        assert_eq!(starved, Starved { held: 16, frames: 16 });
        held.clear();
        queue.refill();
        kernel.deliver(8);
        assert_eq!(queue.receive(BURST).unwrap().len(), 8);
    }

    #[test]
    fn a_full_tx_ring_leaves_the_packet_in_the_burst() {
        let (mut queue, mut kernel) = near_and_far(16, 4);
        queue.refill();
        for _ in 0..4 {
            assert!(queue.copy(b"frame"));
        }
        assert!(!queue.copy(b"no room"));
        kernel.deliver(4);
        let mut burst = queue.receive(BURST).unwrap();
        assert_eq!(queue.transmit(&mut burst, &[0]), 0);
        assert!(burst.bytes(0).is_some());
        assert_eq!(kernel.send_all().len(), 4);
        queue.reap();
        assert_eq!(queue.transmit(&mut burst, &[0]), 1);
        assert_eq!(queue.transmit(&mut burst, &[0]), 0, "it is gone");
    }

    #[test]
    fn a_viewed_packet_is_sent_as_a_copy() {
        let (mut queue, mut kernel) = near_and_far(16, 4);
        queue.refill();
        kernel.deliver(1);
        let mut burst = queue.receive(BURST).unwrap();
        let view = burst.share(0).unwrap();
        assert_eq!(queue.transmit(&mut burst, &[0]), 1);
        assert_eq!(kernel.send_all()[0], 60);
        assert_eq!(view.bytes().len(), 60);
    }

    #[test]
    fn what_the_kernel_was_not_lent_is_counted_and_not_believed() {
        let (mut queue, mut kernel) = near_and_far(16, 8);
        queue.refill();
        kernel.deliver(1);
        kernel.arrivals.forge(0, 60); // the same frame again
        kernel.arrivals.forge(u64::MAX, 60); // no frame at all
        kernel.arrivals.forge(u64::from(FRAME) + 2000, 500); // beyond the frame's end
        assert_eq!(queue.receive(BURST).unwrap().len(), 1);
        assert_eq!(queue.strays(), 3);
        assert_eq!(total(&queue), 16);
    }

    #[test]
    fn a_frame_larger_than_the_frame_size_is_refused() {
        let (mut queue, _kernel) = near_and_far(16, 8);
        assert!(!queue.copy(&[0; FRAME as usize + 1]));
        assert!(queue.copy(&[0; FRAME as usize]));
    }
}
