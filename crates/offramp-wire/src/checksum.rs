// SPDX-License-Identifier: Apache-2.0
//! Finishes checksums that the sender's stack left to a NIC although there was none: hosts on one machine send each
//! other such packets over veth or a bridge.
//!
//! Linux then writes the sum of the pseudo-header into the checksum field (`CHECKSUM_PARTIAL`,
//! Documentation/networking/checksum-offloads.rst), and the NIC adds the rest: header and payload. No receiver checks
//! it as long as the packet keeps the kernel's note that its checksum is unfinished. A frame that was in user space has
//! lost that note.

use crate::layers::{Layers, Network, Transport};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Finishes the TCP or UDP checksum of a frame whose sender has left that to the NIC.
///
/// It changes only such frames, so damage stays visible. A finished checksum differs from the sum of the pseudo-header;
/// if they agree, once in 65,536, a right checksum stays as it was. UDP's "no checksum", 0, is never the sum of a
/// pseudo-header. Segments that are cut off, fragmented, or behind IPv6 extension headers are left alone, and so is
/// SCTP.
pub fn finish_checksum(frame: &mut [u8]) {
    let Some(segment) = Segment::find(frame) else { return };
    let field = segment.start + segment.field;
    if u16::from_be_bytes([frame[field], frame[field + 1]]) != fold(segment.pseudo_header) {
        return;
    }
    // The field holds the sum of the pseudo-header, so that is already in this sum.
    let checksum = !fold(sum(&frame[segment.start..segment.end]));
    let checksum = if checksum == 0 && segment.protocol == UDP {
        0xffff
    } else {
        checksum
    };
    frame[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// A whole TCP segment or UDP datagram in a frame.
struct Segment {
    start: usize,
    end: usize,
    protocol: u8,
    /// Offset of the checksum from `start`.
    field: usize,
    /// Sum of the pseudo-header: RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1.
    pseudo_header: u64,
}

impl Segment {
    fn find(frame: &[u8]) -> Option<Self> {
        let layers = Layers::parse(frame);
        let (protocol, field) = match layers.transport {
            Transport::None => return None,
            Transport::Tcp(_) => (TCP, 16),
            Transport::Udp(_) => (UDP, 6),
        };
        let (start, network) = (layers.transport_offset, layers.network_offset);
        let (length, addresses) = match layers.network {
            Network::None => return None,
            Network::Ipv4(ip) if ip.more_fragments() => return None,
            Network::Ipv4(ip) => (
                usize::from(ip.total_length()).checked_sub(ip.header_length())?,
                &frame[network + 12..network + 20],
            ),
            Network::Ipv6(ip) if ip.next_header() != protocol => return None,
            Network::Ipv6(ip) => (usize::from(ip.payload_length()), &frame[network + 8..network + 40]),
        };
        let end = start + length;
        (start + field + 2 <= end && end <= frame.len()).then_some(Self {
            start,
            end,
            protocol,
            field,
            pseudo_header: sum(addresses) + u64::from(protocol) + length as u64,
        })
    }
}

/// Adds up the words of 16 bits. An odd byte at the end is the high byte of a word (RFC 1071). No frame can overflow
/// it.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |&byte| u64::from(byte) << 8);
    words
        .map(|word| u64::from(u16::from_be_bytes([word[0], word[1]])))
        .sum::<u64>()
        + odd
}

/// The ones' complement sum of 16 bits.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: [u8; 20] = [0x45, 0, 0, 33, 0, 0, 0, 0, 64, UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    const PAYLOAD: [u8; 5] = *b"hello"; // an odd number of bytes

    /// UDP 1000 -> 53 with `checksum`, behind the given network header, and padded as Ethernet pads.
    fn datagram(ethertype: u16, network: &[u8], checksum: u16) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend(ethertype.to_be_bytes());
        frame.extend(network);
        frame.extend([0x03, 0xe8, 0, 53, 0, 13]);
        frame.extend(checksum.to_be_bytes());
        frame.extend(PAYLOAD);
        frame.extend([0xff; 20]);
        frame
    }

    fn v6() -> Vec<u8> {
        let mut header = vec![0x60, 0, 0, 0, 0, 13, UDP, 64];
        header.extend((0..32).map(|byte| byte * 7));
        header
    }

    fn checksum(frame: &[u8]) -> u16 {
        let segment = Segment::find(frame).unwrap();
        let field = segment.start + segment.field;
        u16::from_be_bytes([frame[field], frame[field + 1]])
    }

    /// Whether a receiver would take the frame: pseudo-header and segment add up to all ones.
    fn is_right(frame: &[u8]) -> bool {
        let segment = Segment::find(frame).unwrap();
        fold(segment.pseudo_header + sum(&frame[segment.start..segment.end])) == 0xffff
    }

    #[test]
    fn an_unfinished_checksum_is_finished_and_a_finished_one_stays() {
        for (ethertype, network) in [(0x0800, V4.to_vec()), (0x86dd, v6())] {
            let pseudo = Segment::find(&datagram(ethertype, &network, 0)).unwrap().pseudo_header;
            let mut frame = datagram(ethertype, &network, fold(pseudo));
            assert!(!is_right(&frame));
            finish_checksum(&mut frame);
            assert!(is_right(&frame));
            let finished = frame.clone();
            finish_checksum(&mut frame);
            assert_eq!(frame, finished);
        }
    }

    #[test]
    fn known_checksums() {
        // 0a00 + 0001 + 0a00 + 0002 + 0011 + 000d = 1421; + 03e8 + 0035 + 000d + 6865 + 6c6c + 6f00 = 5c1d with the
        // carry
        let mut frame = datagram(0x0800, &V4, 0x1421);
        finish_checksum(&mut frame);
        assert_eq!(checksum(&frame), !0x5c1d);
    }

    #[test]
    fn what_is_not_unfinished_is_left_alone() {
        let fragment = |offset: usize, bits: u8| {
            let mut header = V4;
            header[offset] |= bits;
            datagram(0x0800, &header, 0x1421)
        };
        let mut behind_an_extension = v6();
        behind_an_extension[6] = 60;
        behind_an_extension.extend([UDP, 0, 0, 0, 0, 0, 0, 0]);
        for frame in [
            datagram(0x0800, &V4, 0),      // no checksum
            datagram(0x0800, &V4, 0xbad0), // damaged
            fragment(6, 0x20),             // the first of several
            fragment(7, 1),                // a later one
            datagram(0x86dd, &behind_an_extension, 0x1421),
            datagram(0x0800, &V4, 0x1421)[..14 + 32].to_vec(), // cut off
        ] {
            let mut copy = frame.clone();
            finish_checksum(&mut copy);
            assert_eq!(copy, frame);
        }
    }

    #[test]
    fn a_udp_checksum_of_zero_is_sent_as_all_ones() {
        for word in 0..=0xffff_u16 {
            let mut frame = datagram(0x0800, &V4, 0x1421);
            frame[42..44].copy_from_slice(&word.to_be_bytes());
            finish_checksum(&mut frame);
            assert!(is_right(&frame));
            assert_ne!(checksum(&frame), 0);
        }
    }
}
