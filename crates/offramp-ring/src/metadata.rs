// SPDX-License-Identifier: Apache-2.0
//! What is known of a packet besides its bytes. It lies in the headroom in front of the packet, as in AF_XDP, and is
//! read only when asked for.

use std::ptr::NonNull;

/// The record of a packet that was written to a lent frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Bytes written to the frame.
    pub captured: u32,
    /// The packet's length on the wire in bytes; larger than `captured` if the packet was cut.
    pub wire_length: u32,
    /// Nanoseconds since 1970, if the port knows when the packet arrived.
    pub timestamp: Option<u64>,
}

impl Arrival {
    /// A whole packet of which nothing else is known.
    #[must_use]
    pub const fn whole(length: u32) -> Self {
        Self {
            captured: length,
            wire_length: length,
            timestamp: None,
        }
    }
}

/// Our own bit in `Descriptor::options`: the packet has metadata. The kernel uses the low bits (`XDP_PKT_CONTD`,
/// `XDP_TX_METADATA`).
pub const METADATA: u32 = 1 << 31;

/// The metadata as it lies in memory.
#[repr(C)]
struct Written {
    timestamp: u64,
    wire_length: u32,
    flags: u32,
}

const TIMED: u32 = 1;

/// The 16 bytes in front of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub timestamp: Option<u64>,
    pub wire_length: u32,
}

impl Metadata {
    pub const SIZE: usize = size_of::<Written>();

    /// What has to be written down; `None` if it is what everybody assumes anyway.
    #[must_use]
    pub fn of(arrival: &Arrival) -> Option<Self> {
        let plain = arrival.timestamp.is_none() && arrival.wire_length == arrival.captured;
        (!plain).then_some(Self {
            timestamp: arrival.timestamp,
            wire_length: arrival.wire_length,
        })
    }

    /// # Safety
    /// The 16 bytes before `packet` are writable, and nobody else has access to them.
    pub unsafe fn write(self, packet: NonNull<u8>) {
        let written = Written {
            timestamp: self.timestamp.unwrap_or(0),
            wire_length: self.wire_length,
            flags: if self.timestamp.is_some() { TIMED } else { 0 },
        };
        // SAFETY: by this function's contract.
        unsafe { packet.sub(Self::SIZE).cast().write_unaligned(written) }
    }

    /// # Safety
    /// The 16 bytes before `packet` are readable, and nobody writes to them.
    #[must_use]
    pub unsafe fn read(packet: NonNull<u8>) -> Self {
        // SAFETY: by this function's contract; integers have no invalid values.
        let written: Written = unsafe { packet.sub(Self::SIZE).cast().read_unaligned() };
        Self {
            timestamp: (written.flags & TIMED != 0).then_some(written.timestamp),
            wire_length: written.wire_length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut frame = [0_u8; 64];
        let packet = NonNull::from(&mut frame).cast::<u8>();
        // SAFETY: inside the array.
        let packet = unsafe { packet.add(21) };
        for timestamp in [None, Some(0), Some(u64::MAX)] {
            let metadata = Metadata {
                timestamp,
                wire_length: 1514,
            };
            // SAFETY: 21 bytes of the array lie before.
            let read = unsafe {
                metadata.write(packet);
                Metadata::read(packet)
            };
            assert_eq!(read, metadata);
        }
    }

    #[test]
    fn a_whole_packet_without_a_time_needs_none() {
        assert_eq!(Metadata::of(&Arrival::whole(60)), None);
    }
}
