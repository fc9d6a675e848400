// SPDX-License-Identifier: Apache-2.0
//! Is the interface still there, and up?
//!
//! An AF_XDP socket does not tell: when its interface is removed or moved to another network namespace, it is unbound
//! silently. So a netlink socket listens for link changes (rtnetlink(7)). Each change makes us look again, through the
//! same socket, at the index that we know. What has changed becomes an event.
//!
//! An interface that is removed or moved is set down first, and whoever looks in between finds it down. The kernel does
//! all of it under one lock (rtnl_lock), which a request for the link takes too. So before an interface is called down,
//! it is requested: when the kernel has answered, it is down for longer than that moment, or gone.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::error::Error;
use crate::events::{Events, Happening};
use crate::lengths::Mtu;
use crate::rtnetlink::{News, news, request};
use crate::sys::{Seen, bind, receive, seen, send, socket};

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
        link.seen = seen(link.socket.as_fd(), index).ok();
        link.mtu.set(link.seen.as_ref().map_or(0, |seen| seen.mtu));
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

    /// Reads what changed, then says whether the interface is usable.
    ///
    /// # Errors
    /// [`Error::LinkGone`], for good; [`Error::LinkDown`], until it is up again.
    pub fn check(&mut self) -> Result<(), Error> {
        // Also if no change was told: messages may have been lost.
        let now = match self.look() {
            Ok(now) if now.flags.up() => now,
            _ => self.look_when_settled()?,
        };
        let up = now.flags.up();
        self.compare(now);
        if up { Ok(()) } else { Err(Error::LinkDown) }
    }

    /// What is so now, once all news was noted.
    fn look(&mut self) -> Result<Seen, Error> {
        while let Some(datagram) = self.next_datagram() {
            for news in news(&datagram, self.index) {
                self.note(news);
            }
        }
        if self.gone {
            return Err(Error::LinkGone);
        }
        seen(self.socket.as_fd(), self.index)
    }

    /// The same, once nobody is changing the interface any more. Says that it is gone, if that was not told.
    fn look_when_settled(&mut self) -> Result<Seen, Error> {
        if !self.gone {
            send(self.socket.as_fd(), &request(self.index), "asking about a link")?;
        }
        let found = self.look();
        if found == Err(Error::LinkGone) && !self.gone && self.seen.is_some() {
            self.gone = true;
            self.events.push(Happening::Gone);
        }
        found
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
            if let Some(before) = &self.seen {
                let now = Seen {
                    name: news.name.unwrap_or_else(|| before.name.clone()),
                    flags: news.flags,
                    mtu: news.mtu.unwrap_or(before.mtu),
                };
                self.compare(now);
            }
        }
    }

    /// Makes events of what is different now. A carrier means something only while the interface is up.
    fn compare(&mut self, now: Seen) {
        self.mtu.set(now.mtu);
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
        if before.mtu != now.mtu {
            self.events.push(Happening::MtuChanged { mtu: now.mtu });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Flags;

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
        for (flags, name, mtu) in [
            (running, "a", 1500),
            (running, "a", 1500),
            (up, "a", 1500),
            (running, "a", 1500),
            (0, "a", 1500),
            (up, "b", 1500),
            (up, "b", 3000),
        ] {
            link.compare(Seen {
                flags: Flags(flags),
                name: name.into(),
                mtu,
            });
        }
        link.note(News {
            left: true,
            flags: Flags(0),
            name: None,
            mtu: None,
            netns: Some(4),
            ifindex: None,
        });
        let names: Vec<_> = link.events.take().iter().map(|event| event.what.name()).collect();
        assert_eq!(
            names,
            [
                "carrier-lost",
                "carrier-back",
                "down",
                "up",
                "renamed",
                "mtu-changed",
                "moved"
            ]
        );
    }

    #[test]
    fn one_that_went_without_a_word_is_told_once() {
        let mut link = watch(1);
        link.index = i32::MAX;
        for _ in 0..2 {
            assert_eq!(link.check(), Err(Error::LinkGone));
        }
        let names: Vec<_> = link.events.take().iter().map(|event| event.what.name()).collect();
        assert_eq!(names, ["gone"]);
    }
}
