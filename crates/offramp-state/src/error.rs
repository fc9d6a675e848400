// SPDX-License-Identifier: Apache-2.0
//! What can go wrong with a set.

use std::fmt;

/// Why a set did not change. The set is as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It would hold `wanted` elements.
    Full { wanted: usize, capacity: usize },
    /// There is no memory for the work.
    Memory,
    /// A system call failed: what it was for, and its errno.
    System { what: &'static str, errno: i32 },
    /// It would have to wait, or to work for long, and the caller did not want that.
    Busy,
    /// It belongs to the process that this one was forked from.
    Forked,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { wanted, capacity } => write!(f, "{wanted} elements do not fit into a set of {capacity}"),
            Self::System { what, errno } => write!(f, "{what}: {}", std::io::Error::from_raw_os_error(*errno)),
            Self::Memory => f.write_str("there is not enough memory"),
            Self::Busy => f.write_str("not without waiting"),
            Self::Forked => f.write_str("only the process that made the set changes it"),
        }
    }
}

impl std::error::Error for Error {}
