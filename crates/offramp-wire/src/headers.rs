// SPDX-License-Identifier: Apache-2.0
//! One type per header: a view of its fixed part.
//!
//! `parse` is the only length check. It returns `None` for a header that is cut off. The accessors then index an array
//! of known size, so the compiler drops the bounds checks, and no accessor can panic.

macro_rules! header {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a>(&'a [u8; $size]);

        impl<'a> $name<'a> {
            /// Length of the fixed part in bytes.
            pub const SIZE: usize = $size;

            /// The header that starts at `offset` of `frame`, or `None` if the frame ends inside it.
            #[inline]
            #[must_use]
            pub fn parse(frame: &'a [u8], offset: usize) -> Option<Self> {
                frame.get(offset..)?.first_chunk().map(Self)
            }
        }
    };
}

const fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

const fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

header!(
    /// Ethernet II, IEEE 802.3.
    Ethernet, 14
);

impl<'a> Ethernet<'a> {
    pub const IPV4: u16 = 0x0800;
    pub const IPV6: u16 = 0x86dd;
    /// IEEE 802.1Q customer tag.
    pub const VLAN: u16 = 0x8100;
    /// IEEE 802.1ad service tag.
    pub const QINQ: u16 = 0x88a8;

    #[inline]
    pub fn destination(self) -> &'a [u8; 6] {
        self.0.first_chunk().expect("14 bytes")
    }

    #[inline]
    pub fn source(self) -> &'a [u8; 6] {
        self.0[6..].first_chunk().expect("8 bytes")
    }

    #[inline]
    pub fn ethertype(self) -> u16 {
        u16_at(self.0, 12)
    }
}

header!(
    /// A VLAN tag (IEEE 802.1Q), beginning with its control information. The two bytes before it are the ethertype
    /// 0x8100 or 0x88a8.
    Vlan, 4
);

impl Vlan<'_> {
    /// VLAN identifier, 12 bits.
    #[inline]
    pub fn id(self) -> u16 {
        u16_at(self.0, 0) & 0x0fff
    }

    /// Priority code point, 3 bits.
    #[inline]
    pub fn priority(self) -> u8 {
        self.0[0] >> 5
    }

    /// The ethertype of what follows the tag.
    #[inline]
    pub fn ethertype(self) -> u16 {
        u16_at(self.0, 2)
    }
}

header!(
    /// IPv4, RFC 791 section 3.1, without options.
    Ipv4, 20
);

impl Ipv4<'_> {
    #[inline]
    pub fn version(self) -> u8 {
        self.0[0] >> 4
    }

    /// Header length in bytes, including options: 0..=60 as the packet claims, which may be less than [`Self::SIZE`].
    #[inline]
    pub fn header_length(self) -> usize {
        usize::from(self.0[0] & 0x0f) * 4
    }

    #[inline]
    pub fn total_length(self) -> u16 {
        u16_at(self.0, 2)
    }

    /// Offset of this fragment in units of 8 bytes; 0 for the first fragment and for packets that are not fragmented.
    #[inline]
    pub fn fragment_offset(self) -> u16 {
        u16_at(self.0, 6) & 0x1fff
    }

    /// Whether this is a fragment but not the last one.
    #[inline]
    pub fn more_fragments(self) -> bool {
        self.0[6] & 0x20 != 0
    }

    #[inline]
    pub fn ttl(self) -> u8 {
        self.0[8]
    }

    #[inline]
    pub fn protocol(self) -> u8 {
        self.0[9]
    }

    #[inline]
    pub fn source(self) -> u32 {
        u32_at(self.0, 12)
    }

    #[inline]
    pub fn destination(self) -> u32 {
        u32_at(self.0, 16)
    }
}

header!(
    /// IPv6, RFC 8200 section 3.
    Ipv6, 40
);

impl<'a> Ipv6<'a> {
    #[inline]
    pub fn version(self) -> u8 {
        self.0[0] >> 4
    }

    #[inline]
    pub fn payload_length(self) -> u16 {
        u16_at(self.0, 4)
    }

    #[inline]
    pub fn next_header(self) -> u8 {
        self.0[6]
    }

    #[inline]
    pub fn hop_limit(self) -> u8 {
        self.0[7]
    }

    #[inline]
    pub fn source(self) -> &'a [u8; 16] {
        self.0[8..].first_chunk().expect("32 bytes")
    }

    #[inline]
    pub fn destination(self) -> &'a [u8; 16] {
        self.0[24..].first_chunk().expect("16 bytes")
    }
}

header!(
    /// TCP, RFC 9293 section 3.1, without options.
    Tcp, 20
);

impl Tcp<'_> {
    #[inline]
    pub fn source_port(self) -> u16 {
        u16_at(self.0, 0)
    }

    #[inline]
    pub fn destination_port(self) -> u16 {
        u16_at(self.0, 2)
    }

    #[inline]
    pub fn sequence(self) -> u32 {
        u32_at(self.0, 4)
    }

    #[inline]
    pub fn acknowledgment(self) -> u32 {
        u32_at(self.0, 8)
    }

    /// FIN 0x01, SYN 0x02, RST 0x04, PSH 0x08, ACK 0x10, URG 0x20, ECE 0x40, CWR 0x80.
    #[inline]
    pub fn flags(self) -> u8 {
        self.0[13]
    }

    #[inline]
    pub fn window(self) -> u16 {
        u16_at(self.0, 14)
    }
}

header!(
    /// UDP, RFC 768.
    Udp, 8
);

impl Udp<'_> {
    #[inline]
    pub fn source_port(self) -> u16 {
        u16_at(self.0, 0)
    }

    #[inline]
    pub fn destination_port(self) -> u16 {
        u16_at(self.0, 2)
    }

    /// Header and payload in bytes, as the packet claims.
    #[inline]
    pub fn length(self) -> u16 {
        u16_at(self.0, 4)
    }
}
