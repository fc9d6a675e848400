// SPDX-License-Identifier: Apache-2.0
//! Turning a frame round.

use crate::checksum::finish_checksum;
use crate::headers::{Ethernet, Tcp, Udp};
use crate::layers::{Layers, Network, Transport};

/// Exchanges source and destination of every layer that the frame has: Ethernet, IP, TCP or UDP ports.
///
/// The Internet checksum is a sum, so exchanging two of its terms leaves it valid (RFC 1071). If the sender has left it
/// to its NIC, it is finished ([`finish_checksum`]); otherwise the receiver would drop the frame.
pub fn swap_addresses(frame: &mut [u8]) {
    let layers = Layers::parse(frame);
    let network = match layers.network {
        Network::None => None,
        Network::Ipv4(_) => Some((layers.network_offset + 12, 4)),
        Network::Ipv6(_) => Some((layers.network_offset + 8, 16)),
    };
    let ports = match layers.transport {
        Transport::None => None,
        Transport::Tcp(_) | Transport::Udp(_) => Some((layers.transport_offset, 2)),
    };
    let ethernet = layers.ethernet.map(|_| (0, 6));
    for (offset, width) in [ethernet, network, ports].into_iter().flatten() {
        let (first, second) = frame[offset..offset + 2 * width].split_at_mut(width);
        first.swap_with_slice(second);
    }
    finish_checksum(frame);
}

const _: () = assert!(
    Ethernet::SIZE >= 12 && Tcp::SIZE >= 4 && Udp::SIZE >= 4,
    "each swap lies inside its header"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapping_twice_is_the_identity_and_once_exchanges_every_layer() {
        let mut frame: Vec<u8> = (0..12).collect();
        frame.extend([0x08, 0x00]);
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x03, 0xe8, 0, 53, 0, 8, 0, 0]);
        let original = frame.clone();
        swap_addresses(&mut frame);
        assert_eq!(frame[..12], [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5]);
        assert_eq!(frame[26..34], [10, 0, 0, 2, 10, 0, 0, 1]);
        assert_eq!(frame[34..38], [0, 53, 0x03, 0xe8]);
        swap_addresses(&mut frame);
        assert_eq!(frame, original);
    }

    #[test]
    fn any_prefix_of_anything_is_survived() {
        for seed in 0..=255_u8 {
            let mut frame: Vec<u8> = (0..80)
                .map(|i| seed.wrapping_mul(31).wrapping_add(7_u8.wrapping_mul(i)))
                .collect();
            frame[12..14].copy_from_slice(&[0x08, 0x00]);
            for length in 0..frame.len() {
                swap_addresses(&mut frame[..length]);
            }
        }
    }
}
