// SPDX-License-Identifier: Apache-2.0
//! Which headers a frame has, and where.
//!
//! ```text
//! Ethernet | up to 2 VLAN tags | IPv4 + options | TCP or UDP
//!                              | IPv6 + up to 8 extension headers |
//! ```

use crate::headers::{Ethernet, Ipv4, Ipv6, Tcp, Udp, Vlan};

/// More extension headers than this are not walked (RFC 8200 names each at most once, destination options twice).
const MAX_EXTENSIONS: usize = 8;

/// The network layer, if it is complete and its version agrees with the ethertype.
#[derive(Clone, Copy)]
pub enum Network<'a> {
    None,
    Ipv4(Ipv4<'a>),
    Ipv6(Ipv6<'a>),
}

/// The transport layer, if it is complete. A later fragment has none.
#[derive(Clone, Copy)]
pub enum Transport<'a> {
    None,
    Tcp(Tcp<'a>),
    Udp(Udp<'a>),
}

/// The headers of one frame.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    pub ethernet: Option<Ethernet<'a>>,
    /// The outer tag; a second one is stepped over.
    pub vlan: Option<Vlan<'a>>,
    pub network: Network<'a>,
    /// Offset of the network header in the frame; meaningful if `network` is not `None`.
    pub network_offset: usize,
    pub transport: Transport<'a>,
    /// Offset of the transport header in the frame; meaningful if `transport` is not `None`.
    pub transport_offset: usize,
}

impl<'a> Layers<'a> {
    /// Finds the headers of `frame`. It never fails: a header that is cut off or contradicts itself is absent.
    #[inline]
    #[must_use]
    pub fn parse(frame: &'a [u8]) -> Self {
        let mut layers = Self {
            ethernet: None,
            vlan: None,
            network: Network::None,
            network_offset: 0,
            transport: Transport::None,
            transport_offset: 0,
        };
        let Some(ethernet) = Ethernet::parse(frame, 0) else {
            return layers;
        };
        layers.ethernet = Some(ethernet);
        let mut ethertype = ethernet.ethertype();
        let mut offset = Ethernet::SIZE;
        for _ in 0..2 {
            if !matches!(ethertype, Ethernet::VLAN | Ethernet::QINQ) {
                break;
            }
            let Some(tag) = Vlan::parse(frame, offset) else {
                return layers;
            };
            layers.vlan = layers.vlan.or(Some(tag));
            ethertype = tag.ethertype();
            offset += Vlan::SIZE;
        }
        layers.network_offset = offset;
        match ethertype {
            Ethernet::IPV4 => layers.parse_ipv4(frame, offset),
            Ethernet::IPV6 => layers.parse_ipv6(frame, offset),
            _ => {}
        }
        layers
    }

    #[inline]
    fn parse_ipv4(&mut self, frame: &'a [u8], offset: usize) {
        let Some(ip) = Ipv4::parse(frame, offset) else { return };
        let length = ip.header_length();
        if ip.version() != 4 || length < Ipv4::SIZE {
            return;
        }
        self.network = Network::Ipv4(ip);
        if ip.fragment_offset() == 0 {
            self.parse_transport(frame, offset + length, ip.protocol());
        }
    }

    #[inline]
    fn parse_ipv6(&mut self, frame: &'a [u8], offset: usize) {
        let Some(ip) = Ipv6::parse(frame, offset) else { return };
        if ip.version() != 6 {
            return;
        }
        self.network = Network::Ipv6(ip);
        if let Some((protocol, at)) = skip_extensions(frame, offset + Ipv6::SIZE, ip.next_header()) {
            self.parse_transport(frame, at, protocol);
        }
    }

    #[inline]
    fn parse_transport(&mut self, frame: &'a [u8], offset: usize, protocol: u8) {
        self.transport_offset = offset;
        self.transport = match protocol {
            6 => Tcp::parse(frame, offset).map_or(Transport::None, Transport::Tcp),
            17 => Udp::parse(frame, offset).map_or(Transport::None, Transport::Udp),
            _ => Transport::None,
        };
    }
}

/// Steps over IPv6 extension headers (RFC 8200 section 4). Returns the upper-layer protocol and its offset; `None` in a
/// later fragment, or if the chain is cut off.
fn skip_extensions(frame: &[u8], mut offset: usize, mut next: u8) -> Option<(u8, usize)> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    for _ in 0..=MAX_EXTENSIONS {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
            return Some((next, offset));
        }
        let head: &[u8; 4] = frame.get(offset..)?.first_chunk()?;
        let size = if next == FRAGMENT {
            if u16::from_be_bytes([head[2], head[3]]) & 0xfff8 != 0 {
                return None;
            }
            8
        } else {
            (usize::from(head[1]) + 1) * 8
        };
        next = head[0];
        offset += size;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IPv4 UDP 10.0.0.1:1000 -> 10.0.0.2:53 behind `tags`.
    fn udp(tags: &[u16]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for id in tags {
            frame.extend([0x81, 0x00]);
            frame.extend(id.to_be_bytes());
        }
        frame.extend([0x08, 0x00]);
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x03, 0xe8, 0, 53, 0, 8, 0, 0]);
        frame
    }

    fn ports(frame: &[u8]) -> Option<(u16, u16)> {
        match Layers::parse(frame).transport {
            Transport::Udp(udp) => Some((udp.source_port(), udp.destination_port())),
            _ => None,
        }
    }

    #[test]
    fn finds_udp_behind_no_one_and_two_tags() {
        for tags in [&[][..], &[7], &[7, 8]] {
            let frame = udp(tags);
            assert_eq!(ports(&frame), Some((1000, 53)));
            assert_eq!(Layers::parse(&frame).vlan.map(Vlan::id), tags.first().copied());
        }
        assert_eq!(ports(&udp(&[1, 2, 3])), None, "a third tag is not stepped over");
    }

    #[test]
    fn every_truncation_has_fewer_layers_and_never_panics() {
        let frame = udp(&[7]);
        for length in 0..frame.len() {
            assert_eq!(ports(&frame[..length]), None);
        }
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let mut frame = udp(&[]);
        frame[14 + 7] = 1;
        assert_eq!(ports(&frame), None);
        assert!(matches!(Layers::parse(&frame).network, Network::Ipv4(_)));
    }

    #[test]
    fn ipv4_options_move_the_ports_and_a_short_header_length_is_refused() {
        let mut frame = udp(&[]);
        frame[14] = 0x46;
        frame.splice(34..34, [1, 1, 1, 1]);
        assert_eq!(ports(&frame), Some((1000, 53)));
        frame[14] = 0x44;
        assert!(matches!(Layers::parse(&frame).network, Network::None));
    }

    #[test]
    fn ipv6_extension_headers_are_walked() {
        let mut frame = vec![2; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 0, 64]);
        frame.extend([0; 32]);
        frame.extend([44, 0, 0, 0, 0, 0, 0, 0]); // hop-by-hop, then a fragment header
        frame.extend([17, 0, 0, 1, 0, 0, 0, 9]); // first fragment, more to come
        frame.extend([0x03, 0xe8, 0, 53, 0, 8, 0, 0]);
        assert_eq!(ports(&frame), Some((1000, 53)));
        frame[14 + 40 + 8 + 3] = 9; // offset 1: a later fragment
        assert_eq!(ports(&frame), None);
    }
}
