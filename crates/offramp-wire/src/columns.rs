// SPDX-License-Identifier: Apache-2.0
//! Many frames' headers as one array per field.
//!
//! The table below is the single list of columns: it makes the arrays, their names and the look-up by name. Names are scapy's
//! where scapy has one. Where a layer is absent its fields are zero and its `present` is false.

use crate::headers::{Ethernet, Ipv4, Ipv6, Tcp, Udp, Vlan};
use crate::layers::{Layers, Network, Transport};

/// One column, borrowed: one entry per packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Column<'a> {
    Bool(&'a [bool]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    /// MAC addresses, wire order.
    Mac(&'a [[u8; 6]]),
    /// IPv6 addresses, wire order.
    Address(&'a [[u8; 16]]),
}

/// NumPy's names of the element types.
#[expect(non_upper_case_globals, reason = "named as the variants of Column")]
mod dtype {
    pub const Bool: &str = "?";
    pub const U8: &str = "u1";
    pub const U16: &str = "=u2";
    pub const U32: &str = "=u4";
    pub const Mac: &str = "6u1";
    pub const Address: &str = "16u1";
}

macro_rules! columns {
    ($($field:ident: $type:ty => $name:literal as $kind:ident),+ $(,)?) => {
        /// The parsed headers of a batch, a vector per field, all of the same length.
        #[derive(Debug)]
        pub struct Columns { $($field: Vec<$type>),+ }

        /// The columns: `layer.field` (and `length`), and the type of an element in NumPy's notation.
        pub const FIELDS: &[(&str, &str)] = &[$(($name, dtype::$kind)),+];

        impl Columns {
            fn zeroed(packets: usize) -> Self {
                Self { $($field: vec![Default::default(); packets]),+ }
            }

            /// The column of that name, or `None` if there is none.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<Column<'_>> {
                match name {
                    $($name => Some(Column::$kind(&self.$field)),)+
                    _ => None,
                }
            }
        }
    };
}

columns! {
    length: u32 => "length" as U32,
    eth_present: bool => "eth.present" as Bool,
    eth_dst: [u8; 6] => "eth.dst" as Mac,
    eth_src: [u8; 6] => "eth.src" as Mac,
    eth_type: u16 => "eth.type" as U16,
    vlan_present: bool => "vlan.present" as Bool,
    vlan_vlan: u16 => "vlan.vlan" as U16,
    vlan_prio: u8 => "vlan.prio" as U8,
    vlan_type: u16 => "vlan.type" as U16,
    ip_present: bool => "ip.present" as Bool,
    ip_len: u16 => "ip.len" as U16,
    ip_frag: u16 => "ip.frag" as U16,
    ip_ttl: u8 => "ip.ttl" as U8,
    ip_proto: u8 => "ip.proto" as U8,
    ip_src: u32 => "ip.src" as U32,
    ip_dst: u32 => "ip.dst" as U32,
    ip6_present: bool => "ip6.present" as Bool,
    ip6_plen: u16 => "ip6.plen" as U16,
    ip6_nh: u8 => "ip6.nh" as U8,
    ip6_hlim: u8 => "ip6.hlim" as U8,
    ip6_src: [u8; 16] => "ip6.src" as Address,
    ip6_dst: [u8; 16] => "ip6.dst" as Address,
    tcp_present: bool => "tcp.present" as Bool,
    tcp_sport: u16 => "tcp.sport" as U16,
    tcp_dport: u16 => "tcp.dport" as U16,
    tcp_seq: u32 => "tcp.seq" as U32,
    tcp_ack: u32 => "tcp.ack" as U32,
    tcp_flags: u8 => "tcp.flags" as U8,
    tcp_window: u16 => "tcp.window" as U16,
    udp_present: bool => "udp.present" as Bool,
    udp_sport: u16 => "udp.sport" as U16,
    udp_dport: u16 => "udp.dport" as U16,
    udp_len: u16 => "udp.len" as U16,
}

impl Columns {
    /// The headers of `frames`, each as long as it was on the wire. Only the fields of layers that are there cost anything.
    #[must_use]
    pub fn parse<'a>(frames: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let mut columns = Self::zeroed(frames.len());
        for (row, frame) in frames.enumerate() {
            let layers = Layers::parse(frame);
            columns.length[row] = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            if let Some(ethernet) = layers.ethernet {
                columns.set_ethernet(row, ethernet);
            }
            if let Some(tag) = layers.vlan {
                columns.set_vlan(row, tag);
            }
            match layers.network {
                Network::None => {}
                Network::Ipv4(ip) => columns.set_ipv4(row, ip),
                Network::Ipv6(ip) => columns.set_ipv6(row, ip),
            }
            match layers.transport {
                Transport::None => {}
                Transport::Tcp(tcp) => columns.set_tcp(row, tcp),
                Transport::Udp(udp) => columns.set_udp(row, udp),
            }
        }
        columns
    }

    #[inline]
    fn set_ethernet(&mut self, row: usize, ethernet: Ethernet<'_>) {
        self.eth_present[row] = true;
        self.eth_dst[row] = *ethernet.destination();
        self.eth_src[row] = *ethernet.source();
        self.eth_type[row] = ethernet.ethertype();
    }

    #[inline]
    fn set_vlan(&mut self, row: usize, tag: Vlan<'_>) {
        self.vlan_present[row] = true;
        self.vlan_vlan[row] = tag.id();
        self.vlan_prio[row] = tag.priority();
        self.vlan_type[row] = tag.ethertype();
    }

    #[inline]
    fn set_ipv4(&mut self, row: usize, ip: Ipv4<'_>) {
        self.ip_present[row] = true;
        self.ip_len[row] = ip.total_length();
        self.ip_frag[row] = ip.fragment_offset();
        self.ip_ttl[row] = ip.ttl();
        self.ip_proto[row] = ip.protocol();
        self.ip_src[row] = ip.source();
        self.ip_dst[row] = ip.destination();
    }

    #[inline]
    fn set_ipv6(&mut self, row: usize, ip: Ipv6<'_>) {
        self.ip6_present[row] = true;
        self.ip6_plen[row] = ip.payload_length();
        self.ip6_nh[row] = ip.next_header();
        self.ip6_hlim[row] = ip.hop_limit();
        self.ip6_src[row] = *ip.source();
        self.ip6_dst[row] = *ip.destination();
    }

    #[inline]
    fn set_tcp(&mut self, row: usize, tcp: Tcp<'_>) {
        self.tcp_present[row] = true;
        self.tcp_sport[row] = tcp.source_port();
        self.tcp_dport[row] = tcp.destination_port();
        self.tcp_seq[row] = tcp.sequence();
        self.tcp_ack[row] = tcp.acknowledgment();
        self.tcp_flags[row] = tcp.flags();
        self.tcp_window[row] = tcp.window();
    }

    #[inline]
    fn set_udp(&mut self, row: usize, udp: Udp<'_>) {
        self.udp_present[row] = true;
        self.udp_sport[row] = udp.source_port();
        self.udp_dport[row] = udp.destination_port();
        self.udp_len[row] = udp.length();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_per_packet_and_zeros_where_a_layer_is_absent() {
        let mut frame = vec![2; 12];
        frame.extend([0x08, 0x00]);
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x03, 0xe8, 0, 53, 0, 8, 0, 0]);
        let columns = Columns::parse([&frame[..], &frame[..20]].into_iter());
        assert_eq!(columns.get("ip.src"), Some(Column::U32(&[0x0a00_0001, 0])));
        assert_eq!(columns.get("udp.dport"), Some(Column::U16(&[53, 0])));
        assert_eq!(columns.get("udp.present"), Some(Column::Bool(&[true, false])));
        assert_eq!(columns.get("length"), Some(Column::U32(&[42, 20])));
        assert_eq!(columns.get("ip.nothing"), None);
    }

    #[test]
    fn every_listed_field_exists() {
        let columns = Columns::parse([&[][..]].into_iter());
        for (name, _) in FIELDS {
            assert!(columns.get(name).is_some(), "{name}");
        }
    }
}
