// SPDX-License-Identifier: Apache-2.0
//! Many frames' headers as one array per field.
//!
//! The table below is the only list of columns: it makes the arrays, their names and the look-up by name. Names are
//! scapy's where scapy has one. If a layer is absent, its fields are zero and its `present` is false.

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

/// What is parsed together: a layer's columns. A reader of one often wants the next, and rarely another layer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Length,
    Ethernet,
    Vlan,
    Ipv4,
    Ipv6,
    Tcp,
    Udp,
}

impl Layer {
    const ALL: [Self; 7] = [
        Self::Length,
        Self::Ethernet,
        Self::Vlan,
        Self::Ipv4,
        Self::Ipv6,
        Self::Tcp,
        Self::Udp,
    ];

    /// The beginning of its columns' names.
    const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Ethernet => "eth.",
            Self::Vlan => "vlan.",
            Self::Ipv4 => "ip.",
            Self::Ipv6 => "ip6.",
            Self::Tcp => "tcp.",
            Self::Udp => "udp.",
        }
    }

    /// The layer that has the column of that name.
    #[must_use]
    pub fn of(column: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| column.starts_with(layer.name()))
    }
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

impl Column<'_> {
    /// The number of entries: one for each packet.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::Mac(values) => values.len(),
            Self::Address(values) => values.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

macro_rules! columns {
    ($($field:ident: $type:ty => $name:literal as $kind:ident),+ $(,)?) => {
        /// The parsed headers of a batch, a vector per field.
        #[derive(Debug)]
        pub struct Columns { $($field: Vec<$type>),+ }

        /// The columns: `layer.field` (and `length`), and the type of an element in NumPy's notation.
        pub const FIELDS: &[(&str, &str)] = &[$(($name, dtype::$kind)),+];

        impl Columns {
            fn zeroed(layer: Layer, packets: usize) -> Self {
                let rows = |name: &str| if name.starts_with(layer.name()) { packets } else { 0 };
                Self { $($field: vec![Default::default(); rows($name)]),+ }
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
    /// The columns of one layer of `frames`. The other columns are empty, and so is the length, which a frame does not
    /// tell.
    #[must_use]
    pub fn parse<'a>(layer: Layer, frames: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let mut columns = Self::zeroed(layer, frames.len());
        for (row, frame) in frames.enumerate() {
            columns.fill(layer, row, &Layers::parse(frame));
        }
        columns
    }

    /// The column of lengths on the wire.
    #[must_use]
    pub fn of_lengths(length: Vec<u32>) -> Self {
        Self {
            length,
            ..Self::zeroed(Layer::Length, 0)
        }
    }

    #[inline]
    fn fill(&mut self, layer: Layer, row: usize, layers: &Layers<'_>) {
        match (layer, layers.network, layers.transport) {
            (Layer::Ethernet, ..) => self.set_ethernet(row, layers.ethernet),
            (Layer::Vlan, ..) => self.set_vlan(row, layers.vlan),
            (Layer::Ipv4, Network::Ipv4(ip), _) => self.set_ipv4(row, ip),
            (Layer::Ipv6, Network::Ipv6(ip), _) => self.set_ipv6(row, ip),
            (Layer::Tcp, _, Transport::Tcp(tcp)) => self.set_tcp(row, tcp),
            (Layer::Udp, _, Transport::Udp(udp)) => self.set_udp(row, udp),
            _ => {}
        }
    }

    #[inline]
    fn set_ethernet(&mut self, row: usize, ethernet: Option<Ethernet<'_>>) {
        let Some(ethernet) = ethernet else { return };
        self.eth_present[row] = true;
        self.eth_dst[row] = *ethernet.destination();
        self.eth_src[row] = *ethernet.source();
        self.eth_type[row] = ethernet.ethertype();
    }

    #[inline]
    fn set_vlan(&mut self, row: usize, tag: Option<Vlan<'_>>) {
        let Some(tag) = tag else { return };
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
        let parse = |name| Columns::parse(Layer::of(name).unwrap(), [&frame[..], &frame[..20]].into_iter());
        assert_eq!(parse("ip.src").get("ip.src"), Some(Column::U32(&[0x0a00_0001, 0])));
        assert_eq!(parse("udp.len").get("udp.dport"), Some(Column::U16(&[53, 0])));
        assert_eq!(
            parse("udp.present").get("udp.present"),
            Some(Column::Bool(&[true, false]))
        );
        assert_eq!(
            Columns::of_lengths(vec![42, 20]).get("length"),
            Some(Column::U32(&[42, 20]))
        );
        assert_eq!(parse("ip.src").get("ip.nothing"), None);
    }

    #[test]
    fn every_listed_field_exists_and_is_filled_with_its_layer() {
        for (name, _) in FIELDS {
            let layer = Layer::of(name).unwrap();
            for other in Layer::ALL {
                let columns = Columns::parse(other, [&[][..]].into_iter());
                assert_eq!(columns.get(name).unwrap().len(), usize::from(other == layer), "{name}");
            }
        }
        assert_eq!(Layer::of("nothing.src"), None);
    }
}
