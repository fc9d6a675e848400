// SPDX-License-Identifier: Apache-2.0
//! The memory that packets are written to, cut into frames of equal size, and who has which frame.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::metadata::Metadata;

/// Memory for frames.
///
/// # Safety
/// `start` leads to `size` bytes that are readable and writable, and used by nobody but the [`Pool`] and the kernel or
/// the NIC that it is registered with, for as long as the region lives.
pub unsafe trait Region: Send + Sync + 'static {
    fn start(&self) -> NonNull<u8>;
    fn size(&self) -> usize;
}

/// A region in ordinary memory.
pub struct Heap(NonNull<[u8]>);

impl Heap {
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self(NonNull::from(Box::leak(vec![0; size].into_boxed_slice())))
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: leaked by `new`, and nobody uses it after the region.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

// SAFETY: the bytes are owned by this value and reached through the pool alone.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

// SAFETY: the allocation is exclusively ours.
unsafe impl Region for Heap {
    fn start(&self) -> NonNull<u8> {
        self.0.cast()
    }

    fn size(&self) -> usize {
        self.0.len()
    }
}

/// The right to use one frame of one pool. It cannot be copied; lending the frame to the kernel consumes it.
#[derive(Debug)]
pub struct Frame {
    index: u32,
    pool: u32,
}

/// A frame in which `length` bytes from `offset` on are a packet.
#[derive(Debug)]
pub struct Packet {
    frame: Frame,
    offset: u32,
    length: u32,
    /// Whether metadata lies in front of it, in the same frame.
    described: bool,
}

impl Packet {
    #[must_use]
    pub fn len(&self) -> usize {
        self.length as usize
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    #[must_use]
    pub fn into_frame(self) -> Frame {
        self.frame
    }

    /// The packet with the metadata that was written in front of it before; without it if there is no room for
    /// metadata.
    #[must_use]
    pub(crate) fn described(self) -> Self {
        let described = self.offset as usize >= Metadata::SIZE;
        Self { described, ..self }
    }
}

/// The frames of one umem. Shared by the queue, which lends them to the kernel, and by everyone who holds packets.
pub struct Pool {
    region: Box<dyn Region>,
    id: u32,
    frame_size: u32,
    frames: u32,
    /// Frames that the application gave back, perhaps in another thread; the queue collects them.
    recycled: Mutex<Vec<Frame>>,
    abandoned: AtomicBool,
}

impl Pool {
    /// Cuts `region` into frames of `frame_size` bytes and hands out the token of each.
    ///
    /// # Panics
    /// If `frame_size` is not a power of two.
    #[must_use]
    pub fn new(region: Box<dyn Region>, frame_size: u32) -> (Self, Vec<Frame>) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            frame_size.is_power_of_two(),
            "frame size {frame_size} is not a power of two"
        );
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let frames = u32::try_from(region.size() / frame_size as usize).expect("fewer than 2^32 frames");
        // The highest first, so that the list, used as a stack, hands out the lowest addresses first.
        let tokens = (0..frames).rev().map(|index| Frame { index, pool: id }).collect();
        (
            Self {
                region,
                id,
                frame_size,
                frames,
                recycled: Mutex::default(),
                abandoned: AtomicBool::new(false),
            },
            tokens,
        )
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    #[must_use]
    pub fn region(&self) -> &dyn Region {
        &*self.region
    }

    #[must_use]
    pub fn frame_size(&self) -> u32 {
        self.frame_size
    }

    #[must_use]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Makes a packet of `length` bytes at `offset` of the frame; `Err` returns the frame if it does not fit.
    pub fn packet(&self, frame: Frame, offset: u32, length: u32) -> Result<Packet, Frame> {
        match offset.checked_add(length) {
            Some(end) if end <= self.frame_size => Ok(Packet {
                frame,
                offset,
                length,
                described: false,
            }),
            _ => Err(frame),
        }
    }

    /// The address of the packet's first byte, relative to the region, as a ring descriptor holds it.
    #[must_use]
    pub fn address(&self, packet: &Packet) -> u64 {
        self.frame_address(&packet.frame) + u64::from(packet.offset)
    }

    fn frame_address(&self, frame: &Frame) -> u64 {
        assert_eq!(frame.pool, self.id, "a frame of another pool");
        u64::from(frame.index) * u64::from(self.frame_size)
    }

    fn pointer(&self, packet: &Packet) -> NonNull<u8> {
        let address = usize::try_from(self.address(packet)).expect("umem fits the address space");
        // SAFETY: a frame of this pool has an index below `frames`, and a packet lies inside its frame.
        unsafe { self.region.start().add(address) }
    }

    /// The packet's bytes.
    #[must_use]
    pub fn bytes<'a>(&'a self, packet: &'a Packet) -> &'a [u8] {
        // SAFETY: inside the region; whoever has the packet has the frame, and a shared borrow of it forbids
        // `bytes_mut`.
        unsafe { std::slice::from_raw_parts(self.pointer(packet).as_ptr(), packet.len()) }
    }

    /// The packet's bytes, to change.
    #[must_use]
    pub fn bytes_mut<'a>(&'a self, packet: &'a mut Packet) -> &'a mut [u8] {
        // SAFETY: inside the region; whoever has the packet has the frame, and the borrow of it is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(packet).as_ptr(), packet.len()) }
    }

    /// What is known of the packet besides its bytes, if anything is.
    #[must_use]
    pub fn metadata(&self, packet: &Packet) -> Option<Metadata> {
        // SAFETY: in the packet's own frame, as `described` has checked; whoever has the packet has the frame.
        packet
            .described
            .then(|| unsafe { Metadata::read(self.pointer(packet)) })
    }

    /// Cuts the packet to `length` bytes. Its length on the wire is kept, if there is room to write it down.
    pub fn truncate(&self, packet: &mut Packet, length: usize) {
        let length = packet.length.min(u32::try_from(length).unwrap_or(u32::MAX));
        if packet.offset as usize >= Metadata::SIZE {
            let plain = Metadata {
                timestamp: None,
                wire_length: packet.length,
            };
            let metadata = self.metadata(packet).unwrap_or(plain);
            // SAFETY: in the packet's own frame, as just checked; the borrow of the packet is exclusive.
            unsafe { metadata.write(self.pointer(packet)) };
            packet.described = true;
        }
        packet.length = length;
    }

    fn recycled(&self) -> MutexGuard<'_, Vec<Frame>> {
        self.recycled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes frames back from the application. Any thread may call it.
    pub fn recycle(&self, frames: impl IntoIterator<Item = Frame>) {
        if !self.abandoned.load(Ordering::Relaxed) {
            self.recycled().extend(frames);
        }
    }

    /// For a forked child, where nobody receives any more: frames are no longer taken back, because a thread of the
    /// parent may have held the lock for that.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Moves the recycled frames to `free`.
    pub fn collect(&self, free: &mut Vec<Frame>) {
        free.append(&mut self.recycled());
    }

    /// Recycled frames that wait to be collected.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.recycled().len()
    }
}

/// Whether a frame is lent to the kernel, and through which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loan {
    /// It is on this side: free, or with the application.
    None,
    /// Through the fill ring; comes back through the rx ring.
    Fill,
    /// Through the tx ring; comes back through the completion ring.
    Tx,
}

/// Which frames the kernel has. Only here is a token made from an address.
pub struct Custody {
    loans: Box<[Loan]>,
    /// The frame size is 2 to this power. Each packet's address is divided by it.
    shift: u32,
    pool: u32,
    fill: u32,
    tx: u32,
}

impl Custody {
    #[must_use]
    pub fn new(pool: &Pool) -> Self {
        Self {
            loans: vec![Loan::None; pool.frames as usize].into(),
            shift: pool.frame_size.trailing_zeros(),
            pool: pool.id,
            fill: 0,
            tx: 0,
        }
    }

    /// Lends a frame to the kernel and returns the address at which it begins.
    ///
    /// # Panics
    /// If the frame belongs to another pool.
    #[inline]
    pub fn lend(&mut self, frame: Frame, to: Loan) -> u64 {
        assert_eq!(frame.pool, self.pool, "a frame of another pool");
        self.loans[frame.index as usize] = to;
        *self.count(to) += 1;
        u64::from(frame.index) << self.shift
    }

    /// The frame at `address` and the offset in it, if it was lent to `from`. `None` means that the kernel returned
    /// something that it did not have.
    #[inline]
    pub fn reclaim(&mut self, address: u64, from: Loan) -> Option<(Frame, u32)> {
        let index = address >> self.shift;
        let loan = self.loans.get_mut(usize::try_from(index).ok()?)?;
        if *loan != from {
            return None;
        }
        *loan = Loan::None;
        *self.count(from) -= 1;
        Some((
            Frame {
                index: index as u32,
                pool: self.pool,
            },
            (address & ((1 << self.shift) - 1)) as u32,
        ))
    }

    fn count(&mut self, loan: Loan) -> &mut u32 {
        match loan {
            Loan::Fill => &mut self.fill,
            Loan::Tx => &mut self.tx,
            Loan::None => unreachable!("frames are lent to the kernel, never to this side"),
        }
    }

    /// Frames lent through the fill ring, including those that wait in the rx ring.
    #[must_use]
    pub fn filling(&self) -> u32 {
        self.fill
    }

    /// Frames lent through the tx ring, including those that wait in the completion ring.
    #[must_use]
    pub fn sending(&self) -> u32 {
        self.tx
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> (Pool, Vec<Frame>) {
        Pool::new(Box::new(Heap::new(4 * 2048)), 2048)
    }

    #[test]
    fn a_frame_comes_back_once_and_only_from_where_it_was_lent() {
        let (pool, mut free) = pool();
        let mut custody = Custody::new(&pool);
        let address = custody.lend(free.pop().unwrap(), Loan::Fill);
        assert_eq!((custody.filling(), custody.sending()), (1, 0));
        assert!(custody.reclaim(address, Loan::Tx).is_none());
        assert!(custody.reclaim(1 << 40, Loan::Fill).is_none());
        let (_frame, offset) = custody.reclaim(address + 256, Loan::Fill).unwrap();
        assert_eq!(offset, 256);
        assert!(custody.reclaim(address, Loan::Fill).is_none());
        assert_eq!(custody.filling(), 0);
    }

    #[test]
    fn a_packet_lies_inside_its_frame() {
        let (pool, mut free) = pool();
        let frame = pool.packet(free.pop().unwrap(), 2000, 49).unwrap_err();
        let frame = pool.packet(frame, u32::MAX, 2).unwrap_err();
        let mut packet = pool.packet(frame, 2000, 48).unwrap();
        pool.bytes_mut(&mut packet).fill(7);
        assert_eq!(pool.bytes(&packet), [7; 48]);
    }

    #[test]
    fn a_packet_that_is_cut_keeps_its_length_on_the_wire() {
        let (pool, mut free) = pool();
        let mut packet = pool.packet(free.pop().unwrap(), 256, 100).unwrap();
        pool.truncate(&mut packet, 200);
        assert_eq!(packet.len(), 100);
        pool.truncate(&mut packet, 40);
        pool.truncate(&mut packet, 30);
        assert_eq!(pool.bytes(&packet).len(), 30);
        assert_eq!(pool.metadata(&packet).unwrap().wire_length, 100);
        let mut packet = pool.packet(free.pop().unwrap(), 15, 100).unwrap().described();
        pool.truncate(&mut packet, 40);
        assert_eq!(pool.metadata(&packet), None, "no room in front of it");
    }

    #[test]
    #[should_panic(expected = "a frame of another pool")]
    fn pools_do_not_mix() {
        let (one, _) = pool();
        let (_other, mut free) = pool();
        let packet = one.packet(free.pop().unwrap(), 0, 1).unwrap();
        let _ = one.bytes(&packet);
    }
}
