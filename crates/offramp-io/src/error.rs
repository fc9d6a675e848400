// SPDX-License-Identifier: Apache-2.0
//! What can go wrong on the data path.

use std::fmt;

use offramp_ring::Starved;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A system call failed: what it was for, and its errno.
    System { what: String, errno: i32 },
    /// The application holds the frames.
    Starved(Starved),
    /// Packet `row` cannot be sent: it was sent already, or is larger than a frame of the sending port.
    Unsendable { row: usize },
    /// The interface is administratively down.
    LinkDown,
    /// The interface was removed or left this network namespace.
    LinkGone,
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
            Self::Unsendable { row } => write!(f, "packet {row} was sent already, is empty, or is larger than a frame"),
            Self::LinkDown => f.write_str("the interface is down"),
            Self::LinkGone => f.write_str("the interface is gone"),
        }
    }
}

impl std::error::Error for Error {}
