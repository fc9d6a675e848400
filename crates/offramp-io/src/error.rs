// SPDX-License-Identifier: Apache-2.0
//! What can go wrong on the data path.

use std::fmt;

use offramp_ring::Starved;

use crate::lengths::Unsendable;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A system call failed: what it was for, and its errno.
    System { what: String, errno: i32 },
    /// The application holds the frames.
    Starved(Starved),
    /// Packet `row` cannot be sent.
    Unsendable { row: usize, why: Unsendable },
    /// A queue receives and cannot send; `instead`: one that can.
    NoWayOut { queue: usize, instead: Option<usize> },
    /// There is no interface of that name in this network namespace.
    NoInterface { name: String },
    /// The interface is administratively down.
    LinkDown,
    /// The interface was removed or left this network namespace.
    LinkGone,
    /// The port was closed: by its user, or by the fork that made this process.
    Closed { forked: bool },
    /// A port has queues 0 to `queues` - 1.
    NoQueue { queue: i64, queues: usize },
    /// An option or a URI with an impossible value; the hint says what is possible.
    Option { what: String, hint: String },
}

impl Error {
    pub fn option(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Option {
            what: what.into(),
            hint: hint.into(),
        }
    }
}

impl From<Starved> for Error {
    fn from(starved: Starved) -> Self {
        Self::Starved(starved)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { what, errno } => write!(f, "{what}: {}", std::io::Error::from_raw_os_error(*errno)),
            Self::Starved(Starved { held, frames }) => {
                write!(f, "live batches and views hold {held} of {frames} frames")
            }
            Self::Unsendable { row, why } => write!(f, "packet {row} {why}"),
            Self::NoWayOut { queue, .. } => write!(
                f,
                "queue {queue} cannot send: the interface has fewer transmit queues than receive queues"
            ),
            Self::NoInterface { name } => write!(f, "no interface {name:?} in this network namespace"),
            Self::LinkDown => f.write_str("the interface is down"),
            Self::LinkGone => f.write_str("the interface is gone"),
            Self::Closed { forked: false } => f.write_str("the port was closed"),
            Self::Closed { forked: true } => {
                f.write_str("the port stays with the process that opened it: this is a forked child")
            }
            Self::NoQueue { queue, queues } => write!(f, "queue {queue}: the port has queues 0 to {}", queues - 1),
            Self::Option { what, .. } => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
