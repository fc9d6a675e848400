// SPDX-License-Identifier: Apache-2.0
//! Is the interface still there, and up?
//!
//! An AF_XDP socket does not say: when its interface is removed or moved to another network namespace, it is unbound silently. So a
//! netlink socket listens for link changes (rtnetlink(7)); each one makes us look again, by the same socket, at the index that we know.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::error::Error;
use crate::sys::{check, errno, socket};

/// Watches one interface of the network namespace that it was created in. Needs no privilege.
pub struct Link {
    socket: OwnedFd,
    index: i32,
    gone: bool,
}

impl Link {
    pub fn watch(index: i32) -> Result<Self, Error> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK;
        let socket = socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE, "netlink")?;
        // SAFETY: zeros are a valid sockaddr_nl.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as u16;
        address.nl_groups = libc::RTMGRP_LINK as u32;
        let size = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the pointer and the size describe `address`.
        let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
        check(result, || "binding a netlink socket to link changes".into())?;
        Ok(Self {
            socket,
            index,
            gone: false,
        })
    }

    #[must_use]
    pub fn fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// Reads what changed, then says whether the interface is usable.
    ///
    /// # Errors
    /// [`Error::LinkGone`], for good; [`Error::LinkDown`], until it is up again.
    pub fn check(&mut self) -> Result<(), Error> {
        while let Some(message) = self.next_message() {
            self.gone |= removes(&message, self.index);
        }
        if self.gone { Err(Error::LinkGone) } else { self.state() }
    }

    /// Whether a socket's `error` is about the interface: what [`Self::check`] says then. A driver also answers ENETDOWN or ENXIO
    /// while it resets, and ENXIO tells of an unbound socket; only the interface knows whether it is down or gone.
    pub fn blame(&mut self, error: &Error) -> Option<Error> {
        match error {
            Error::System {
                errno: libc::ENETDOWN | libc::ENXIO,
                ..
            } => self.check().err(),
            _ => None,
        }
    }

    fn next_message(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0_u8; 8192];
        loop {
            // SAFETY: the pointer and the size describe `buffer`.
            let length = unsafe { libc::recv(self.fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            match usize::try_from(length) {
                Ok(length) => {
                    buffer.truncate(length);
                    return Some(buffer);
                }
                // Changes were lost; `state` tells what is the case now.
                Err(_) if matches!(errno(), libc::EINTR | libc::ENOBUFS) => {}
                Err(_) => return None,
            }
        }
    }

    fn state(&self) -> Result<(), Error> {
        // SAFETY: zeros are a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_ifru.ifru_ifindex = self.index;
        self.ask(libc::SIOCGIFNAME, &mut request)?;
        self.ask(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: SIOCGIFFLAGS has set this member.
        let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
        if flags & libc::IFF_UP == 0 {
            Err(Error::LinkDown)
        } else {
            Ok(())
        }
    }

    /// An interface ioctl, in the network namespace of the socket.
    fn ask(&self, what: libc::c_ulong, request: &mut libc::ifreq) -> Result<(), Error> {
        // SAFETY: both requests that are made here read and write an ifreq.
        match unsafe { libc::ioctl(self.fd(), what, std::ptr::from_mut(request)) } {
            0.. => Ok(()),
            _ if errno() == libc::ENODEV => Err(Error::LinkGone),
            _ => Err(Error::System {
                what: format!("flags of interface {}", self.index),
                errno: errno(),
            }),
        }
    }
}

/// Whether a netlink datagram says that interface `index` left: RTM_DELLINK of `AF_UNSPEC` (a bridge port that leaves its bridge is an
/// RTM_DELLINK of `AF_BRIDGE`).
fn removes(datagram: &[u8], index: i32) -> bool {
    const HEADER: usize = 16; // struct nlmsghdr; struct ifinfomsg follows
    let mut rest = datagram;
    while let Some((header, _)) = rest.split_first_chunk::<{ HEADER + 8 }>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let which = i32::from_ne_bytes([header[20], header[21], header[22], header[23]]);
        if kind == libc::RTM_DELLINK && header[HEADER] == libc::AF_UNSPEC as u8 && which == index {
            return true;
        }
        rest = rest.get(length.next_multiple_of(4).max(HEADER)..).unwrap_or(&[]);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, family: u8, index: i32) -> Vec<u8> {
        let mut bytes = vec![0; 32];
        bytes[..4].copy_from_slice(&32_u32.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[16] = family;
        bytes[20..24].copy_from_slice(&index.to_ne_bytes());
        bytes
    }

    #[test]
    fn only_the_removal_of_our_link_counts() {
        let bridge = libc::AF_BRIDGE as u8;
        assert!(removes(&message(libc::RTM_DELLINK, 0, 7), 7));
        assert!(!removes(&message(libc::RTM_DELLINK, 0, 8), 7));
        assert!(!removes(&message(libc::RTM_DELLINK, bridge, 7), 7));
        assert!(!removes(&message(libc::RTM_NEWLINK, 0, 7), 7));
        let both = [message(libc::RTM_NEWLINK, 0, 7), message(libc::RTM_DELLINK, 0, 7)].concat();
        assert!(removes(&both, 7));
        assert!(!removes(&both[..40], 7), "a truncated datagram is no news");
    }

    #[test]
    fn loopback_exists_and_an_unused_index_does_not() {
        let lo = Link::watch(1).unwrap().check();
        assert!(matches!(lo, Ok(()) | Err(Error::LinkDown)), "{lo:?}");
        assert_eq!(Link::watch(i32::MAX).unwrap().check(), Err(Error::LinkGone));
    }

    #[test]
    fn a_socket_is_believed_about_its_interface_only_if_that_agrees() {
        let failed = |errno| Error::System {
            what: "sending".into(),
            errno,
        };
        let mut gone = Link::watch(i32::MAX).unwrap();
        assert_eq!(gone.blame(&failed(libc::ENXIO)), Some(Error::LinkGone));
        assert_eq!(gone.blame(&failed(libc::ENETDOWN)), Some(Error::LinkGone));
        assert_eq!(gone.blame(&failed(libc::EMSGSIZE)), None);
        let mut lo = Link::watch(1).unwrap();
        if lo.check().is_ok() {
            assert_eq!(lo.blame(&failed(libc::ENXIO)), None);
        }
    }
}
