// SPDX-License-Identifier: Apache-2.0
//! Is the interface still there, and up?
//!
//! An AF_XDP socket does not tell: when its interface is removed or moved to another network namespace, it is unbound
//! silently. So a netlink socket listens for link changes (rtnetlink(7)). Each change makes us look again, through the
//! same socket, at the index that we know. What has changed becomes an event.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::error::Error;
use crate::events::{Events, Happening};
use crate::lengths::Mtu;
use crate::rtnetlink::{News, news};
use crate::sys::{Flags, bind, mtu, name_and_flags, receive, socket};

/// Watches one interface of the network namespace that it was created in. Needs no privilege.
pub struct Link {
    socket: OwnedFd,
    index: i32,
    gone: bool,
    /// Its state when last seen; `None` if it was not there.
    seen: Option<Seen>,
    events: Arc<Events>,
    mtu: Mtu,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    flags: Flags,
    name: String,
}

impl Link {
    pub fn watch(index: i32, events: Arc<Events>) -> Result<Self, Error> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK;
        let socket = socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE, "netlink")?;
        // SAFETY: zeros are a valid sockaddr_nl.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as u16;
        address.nl_groups = libc::RTMGRP_LINK as u32;
        bind(socket.as_fd(), &address, || {
            "binding a netlink socket to link changes".into()
        })?;
        let mut link = Self {
            socket,
            index,
            gone: false,
            seen: None,
            events,
            mtu: Mtu::default(),
        };
        link.measure();
        link.seen = link.look().ok();
        Ok(link)
    }

    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    #[must_use]
    pub fn fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// Its MTU, as of the last look.
    #[must_use]
    pub fn mtu(&self) -> &Mtu {
        &self.mtu
    }

    fn measure(&self) {
        if let Ok(mtu) = mtu(self.socket.as_fd(), self.index) {
            self.mtu.set(mtu);
        }
    }

    /// Reads what changed, then says whether the interface is usable.
    ///
    /// # Errors
    /// [`Error::LinkGone`], for good; [`Error::LinkDown`], until it is up again.
    pub fn check(&mut self) -> Result<(), Error> {
        while let Some(datagram) = self.next_datagram() {
            for news in news(&datagram, self.index) {
                self.note(news);
            }
        }
        if self.gone {
            return Err(Error::LinkGone);
        }
        let now = self.look()?; // also if no change was told: messages may have been lost
        self.measure();
        let up = now.flags.up();
        self.compare(now);
        if up { Ok(()) } else { Err(Error::LinkDown) }
    }

    /// Whether a socket's `error` is about the interface; if so, what [`Self::check`] says. A driver also answers
    /// ENETDOWN or ENXIO while it resets, and ENXIO is also the error of an unbound socket. Only the interface itself
    /// knows whether it is down or gone.
    pub fn blame(&mut self, error: &Error) -> Option<Error> {
        match error {
            Error::System {
                errno: libc::ENETDOWN | libc::ENXIO,
                ..
            } => self.check().err(),
            _ => None,
        }
    }

    fn next_datagram(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0_u8; 8192];
        loop {
            match receive(self.socket.as_fd(), &mut buffer) {
                Ok(length) => {
                    buffer.truncate(length);
                    return Some(buffer);
                }
                // Messages were lost; `check` sees the current state.
                Err(libc::EINTR | libc::ENOBUFS) => {}
                Err(_) => return None,
            }
        }
    }

    fn look(&self) -> Result<Seen, Error> {
        let (name, flags) = name_and_flags(self.socket.as_fd(), self.index)?;
        Ok(Seen { flags, name })
    }

    fn note(&mut self, news: News) {
        if news.left {
            self.gone = true;
            self.events.push(match news.netns {
                Some(netns) => Happening::Moved {
                    netns,
                    ifindex: news.ifindex,
                },
                None => Happening::Gone,
            });
        } else if !self.gone {
            let name = news.name.or_else(|| self.seen.as_ref().map(|seen| seen.name.clone()));
            self.compare(Seen {
                flags: news.flags,
                name: name.unwrap_or_default(),
            });
        }
    }

    /// Makes events of what is different now. A carrier means something only while the interface is up.
    fn compare(&mut self, now: Seen) {
        let Some(before) = self.seen.replace(now.clone()) else {
            return;
        };
        let (was, is) = (before.flags, now.flags);
        match (was.up(), is.up()) {
            (true, false) => self.events.push(Happening::Down),
            (false, true) => self.events.push(Happening::Up),
            (true, true) if was.running() && !is.running() => self.events.push(Happening::CarrierLost),
            (true, true) if !was.running() && is.running() => self.events.push(Happening::CarrierBack),
            _ => {}
        }
        if before.name != now.name {
            self.events.push(Happening::Renamed { name: now.name });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(index: i32) -> Link {
        Link::watch(index, Arc::default()).unwrap()
    }

    #[test]
    fn loopback_exists_and_an_unused_index_does_not() {
        let lo = watch(1).check();
        assert!(matches!(lo, Ok(()) | Err(Error::LinkDown)), "{lo:?}");
        assert_eq!(watch(i32::MAX).check(), Err(Error::LinkGone));
    }

    #[test]
    fn a_socket_is_believed_about_its_interface_only_if_that_agrees() {
        let failed = |errno| Error::System {
            what: "sending".into(),
            errno,
        };
        let mut gone = watch(i32::MAX);
        assert_eq!(gone.blame(&failed(libc::ENXIO)), Some(Error::LinkGone));
        assert_eq!(gone.blame(&failed(libc::ENETDOWN)), Some(Error::LinkGone));
        assert_eq!(gone.blame(&failed(libc::EMSGSIZE)), None);
        let mut lo = watch(1);
        if lo.check().is_ok() {
            assert_eq!(lo.blame(&failed(libc::ENXIO)), None);
        }
    }

    #[test]
    fn each_change_is_one_event() {
        let (up, running) = (libc::IFF_UP, libc::IFF_UP | libc::IFF_RUNNING);
        let mut link = watch(i32::MAX);
        for (flags, name) in [
            (running, "a"),
            (running, "a"),
            (up, "a"),
            (running, "a"),
            (0, "a"),
            (up, "b"),
        ] {
            link.compare(Seen {
                flags: Flags(flags),
                name: name.into(),
            });
        }
        link.note(News {
            left: true,
            flags: Flags(0),
            name: None,
            netns: Some(4),
            ifindex: None,
        });
        let names: Vec<_> = link.events.take().iter().map(|event| event.what.name()).collect();
        assert_eq!(
            names,
            ["carrier-lost", "carrier-back", "down", "up", "renamed", "moved"]
        );
    }
}
