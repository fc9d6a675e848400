// SPDX-License-Identifier: Apache-2.0
//! What a datagram of rtnetlink(7) says about one link, and the request for it.

use crate::sys::Flags;

/// One message about a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// RTM_DELLINK: it left this network namespace.
    pub left: bool,
    pub flags: Flags,
    pub name: Option<String>,
    pub mtu: Option<u32>,
    /// Where it went, if it was moved: the other namespace's id, and its index there.
    pub netns: Option<i32>,
    pub ifindex: Option<u32>,
}

const HEADER: usize = 16; // struct nlmsghdr; struct ifinfomsg follows
const LINK: usize = 16;
// include/uapi/linux/if_link.h
const IFLA_NEW_NETNSID: u16 = 45;
const IFLA_NEW_IFINDEX: u16 = 49;

/// RTM_GETLINK: the kernel answers with an RTM_NEWLINK about the link `index`, or with an error that `news` leaves out.
#[must_use]
pub fn request(index: i32) -> Vec<u8> {
    let mut bytes = vec![0; HEADER + LINK];
    bytes[..4].copy_from_slice(&((HEADER + LINK) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&index.to_ne_bytes());
    bytes
}

/// The messages of `datagram` about link `index`, in order. Only those of `AF_UNSPEC`: when a bridge port leaves its
/// bridge, that is an RTM_DELLINK of `AF_BRIDGE`.
#[must_use]
pub fn news(datagram: &[u8], index: i32) -> Vec<News> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while let Some(length) = word(rest, 0).map(|length| length as usize) {
        let Some(message) = rest.get(..length).filter(|message| message.len() >= HEADER + LINK) else {
            break;
        };
        found.extend(read(message, index));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    found
}

fn read(message: &[u8], index: i32) -> Option<News> {
    let kind = half(message, 4)?;
    let (family, which) = (message[HEADER], word(message, HEADER + 4)? as i32);
    let ours = [libc::RTM_NEWLINK, libc::RTM_DELLINK].contains(&kind) && i32::from(family) == libc::AF_UNSPEC;
    if !ours || which != index {
        return None;
    }
    let mut news = News {
        left: kind == libc::RTM_DELLINK,
        flags: Flags(word(message, HEADER + 8)? as i32),
        name: None,
        mtu: None,
        netns: None,
        ifindex: None,
    };
    let mut rest = &message[HEADER + LINK..];
    while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let length = usize::from(length);
        let Some(value) = rest.get(4..length) else { break };
        match kind {
            libc::IFLA_IFNAME => {
                let text = value.split(|&byte| byte == 0).next().unwrap_or(value);
                news.name = Some(String::from_utf8_lossy(text).into_owned());
            }
            libc::IFLA_MTU => news.mtu = word(value, 0),
            IFLA_NEW_NETNSID => news.netns = word(value, 0).map(|id| id as i32),
            IFLA_NEW_IFINDEX => news.ifindex = word(value, 0),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Some(news)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, family: u8, index: i32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + LINK];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[HEADER] = family;
        bytes[HEADER + 4..HEADER + 8].copy_from_slice(&index.to_ne_bytes());
        bytes[HEADER + 8..HEADER + 12].copy_from_slice(&libc::IFF_UP.to_ne_bytes());
        for (kind, value) in attributes {
            bytes.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }

    #[test]
    fn only_our_link_counts() {
        let bridge = libc::AF_BRIDGE as u8;
        let left = |bytes: &[u8]| news(bytes, 7).iter().any(|news| news.left);
        assert!(left(&message(libc::RTM_DELLINK, 0, 7, &[])));
        assert!(!left(&message(libc::RTM_DELLINK, 0, 8, &[])));
        assert!(!left(&message(libc::RTM_DELLINK, bridge, 7, &[])));
        assert!(!left(&message(libc::RTM_NEWLINK, 0, 7, &[])));
        let both = [
            message(libc::RTM_NEWLINK, 0, 7, &[]),
            message(libc::RTM_DELLINK, 0, 7, &[]),
        ]
        .concat();
        assert!(left(&both));
        assert!(!left(&both[..40]), "a truncated datagram is no news");
    }

    #[test]
    fn names_flags_and_where_it_went_are_read() {
        let name: &[u8] = b"eth7\0";
        let renamed = message(libc::RTM_NEWLINK, 0, 7, &[(99, b"x"), (libc::IFLA_IFNAME, name)]);
        let told = &news(&renamed, 7)[0];
        assert_eq!(
            (told.name.as_deref(), told.flags.up(), told.left, told.mtu),
            (Some("eth7"), true, false, None)
        );
        let raised = message(libc::RTM_NEWLINK, 0, 7, &[(libc::IFLA_MTU, &3000_u32.to_ne_bytes())]);
        assert_eq!(news(&raised, 7)[0].mtu, Some(3000));
        let moved = [
            (IFLA_NEW_NETNSID, &3_i32.to_ne_bytes()[..]),
            (IFLA_NEW_IFINDEX, &9_u32.to_ne_bytes()[..]),
        ];
        let told = &news(&message(libc::RTM_DELLINK, 0, 7, &moved), 7)[0];
        assert_eq!((told.left, told.netns, told.ifindex), (true, Some(3), Some(9)));
    }

    #[test]
    fn no_bytes_are_too_strange() {
        let whole = message(libc::RTM_NEWLINK, 0, 7, &[(libc::IFLA_IFNAME, b"eth7\0"), (45, b"x")]);
        for place in 0..whole.len() {
            let mut strange = whole.clone();
            strange[place] ^= 0xff;
            let _ = (news(&strange, 7), news(&whole[..place], 7));
        }
    }
}
