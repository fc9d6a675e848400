// SPDX-License-Identifier: Apache-2.0
//! How long the frames may be that a queue sends, and what is wrong with those that it does not send.
//!
//! The kernel takes any frame from a socket, and never completes an empty one. A driver drops one that is too long for
//! the interface, or too short for an Ethernet header, and nobody is told. So a frame is measured before it is sent.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// An Ethernet header, and one VLAN tag: what the kernel lets an interface have beside its MTU (`is_skb_forwardable`).
const HEADER: u32 = 14;
const TAG: u32 = 4;

/// The MTU of an interface, which may change. All copies are the same.
#[derive(Clone, Debug, Default)]
pub struct Mtu(Arc<AtomicU32>);

impl Mtu {
    #[must_use]
    pub fn of(mtu: u32) -> Self {
        Self(Arc::new(mtu.into()))
    }

    pub fn set(&self, mtu: u32) {
        self.0.store(mtu, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for Mtu {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Mtu {}

/// The lengths that can be sent, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// What a frame of the queue holds.
    pub room: u32,
    /// Of the interface; `None` if there is none.
    pub mtu: Option<Mtu>,
}

impl Lengths {
    #[must_use]
    pub fn least(&self) -> u32 {
        if self.mtu.is_some() { HEADER } else { 1 }
    }

    #[must_use]
    pub fn most(&self) -> u32 {
        let mtu = self.mtu.as_ref();
        mtu.map_or(self.room, |mtu| self.room.min(mtu.get().saturating_add(HEADER + TAG)))
    }

    /// What is wrong with a frame of that length.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn check(&self, length: usize) -> Result<(), Unsendable> {
        let (least, most) = (self.least(), self.most());
        if (least as usize..=most as usize).contains(&length) {
            return Ok(());
        }
        let mtu = self.mtu.as_ref().map(Mtu::get).filter(|_| most < self.room);
        Err(Unsendable::Length {
            length,
            least,
            most,
            mtu,
        })
    }
}

/// Why a packet cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsendable {
    SentAlready,
    /// It is not from `least` to `most` bytes long; `mtu`: the interface's, if that is the limit.
    Length {
        length: usize,
        least: u32,
        most: u32,
        mtu: Option<u32>,
    },
}

impl Unsendable {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::SentAlready => "send each packet once".into(),
            Self::Length { length: 0, .. } => "leave it out".into(),
            Self::Length { length, least, .. } if *length < *least as usize => "send whole Ethernet frames".into(),
            Self::Length { mtu: Some(_), .. } => "send shorter ones, or raise the interface's MTU".into(),
            Self::Length { .. } => "send shorter ones".into(),
        }
    }
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Length {
            length,
            least,
            most,
            mtu,
        } = self
        else {
            return f.write_str("was sent already");
        };
        if *length == 0 {
            return write!(f, "is empty: not from {least} to {most} bytes");
        }
        write!(f, "has {length} byte{}, ", if *length == 1 { "" } else { "s" })?;
        match mtu {
            _ if *length < *least as usize => f.write_str("shorter than an Ethernet header")?,
            Some(mtu) => write!(f, "longer than the MTU of {mtu} allows")?,
            None => f.write_str("larger than a frame of the packet memory")?,
        }
        write!(f, ": not from {least} to {most}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_and_a_memory_have_bounds_of_their_own() {
        let mtu = Mtu::of(1500);
        let wire = Lengths {
            room: 2048,
            mtu: Some(mtu.clone()),
        };
        for (length, fits) in [
            (0, false),
            (13, false),
            (14, true),
            (1518, true),
            (1519, false),
            (3000, false),
        ] {
            assert_eq!(wire.check(length).is_ok(), fits, "{length}");
        }
        mtu.set(9000);
        assert_eq!(
            (wire.most(), wire.check(2048), wire.check(2049).is_err()),
            (2048, Ok(()), true)
        );
        let memory = Lengths { room: 64, mtu: None };
        for (length, fits) in [(0, false), (1, true), (64, true), (65, false)] {
            assert_eq!(memory.check(length).is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn each_error_has_one_cause() {
        let wire = |mtu| Lengths {
            room: 2048,
            mtu: Some(Mtu::of(mtu)),
        };
        let words = |lengths: Lengths, length| lengths.check(length).unwrap_err().to_string();
        assert_eq!(words(wire(1500), 0), "is empty: not from 14 to 1518 bytes");
        assert_eq!(
            words(wire(1500), 13),
            "has 13 bytes, shorter than an Ethernet header: not from 14 to 1518"
        );
        assert_eq!(
            words(wire(1500), 1519),
            "has 1519 bytes, longer than the MTU of 1500 allows: not from 14 to 1518"
        );
        assert_eq!(
            words(wire(9000), 2049),
            "has 2049 bytes, larger than a frame of the packet memory: not from 14 to 2048"
        );
    }
}
