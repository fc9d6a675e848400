// SPDX-License-Identifier: Apache-2.0
//! The contract: what each queue of a port can do, whatever is behind it.
//!
//! A queue has packets in and packets out, and one thread at a time uses it. It receives bursts, sends, sleeps, counts,
//! says what it is, and ends. A queue over rings gets all of this from [`crate::Ringed`], and a queue around another
//! one from [`crate::ports::around::Wrapped`].

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use offramp_ring::{Burst, Pool};

use crate::counters::Counters;
use crate::error::Error;
use crate::lengths::Lengths;

pub trait PortQueue: Send {
    /// Up to `most` packets that are there now, in the order of their arrival; finding none is not an error.
    ///
    /// # Errors
    /// [`Error::Starved`] if nothing can arrive because the application holds the frames.
    fn receive(&mut self, most: usize) -> Result<Burst, Error>;

    /// Sends the packets at `rows` of `burst`, waiting for room until `deadline`: the frames themselves if they are
    /// this queue's own, else copies. Returns how many were accepted, in order.
    ///
    /// # Errors
    /// [`Error::Unsendable`] if one of them cannot be sent; then none is sent. [`Error::NoWayOut`] if nothing can.
    fn transmit(&mut self, burst: &mut Burst, rows: &[u16], deadline: Instant) -> Result<usize, Error>;

    /// Sends copies of `frames`, as [`Self::transmit`] does.
    fn send(&mut self, frames: &[&[u8]], deadline: Instant) -> Result<usize, Error>;

    /// Waits until everything that was accepted has left, or until `deadline`. Returns how many frames have not left.
    fn flush(&mut self, deadline: Instant) -> Result<u32, Error>;

    /// A file descriptor that polls readable when packets wait, the same for the queue's whole life; `None` if it has
    /// none.
    fn pollable(&self) -> Option<i32>;

    fn counters(&self) -> Result<Counters, Error>;

    fn facts(&self) -> Facts;

    /// Why nothing will ever arrive any more. `None` while something may arrive, or while an earlier packet was not
    /// received yet.
    fn ended(&self) -> Option<End>;

    /// The frames that its packets arrive in.
    fn pool(&self) -> &Arc<Pool>;
}

/// What a queue of a port is, and what is really in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// As in its URI.
    pub kind: &'static str,
    pub target: String,
    /// What is really in effect, never what was wished for: `zero-copy`, `copy`; wrappers by their names.
    pub modes: Vec<&'static str>,
    pub timestamps: Timestamps,
    /// Of the frames that it sends.
    pub lengths: Lengths,
    pub sends: bool,
}

/// Which moment a packet's time stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// When its burst was taken from the ring: one time for the whole burst.
    Poll,
    /// When software on its way saw it.
    Software,
    /// When the NIC saw it.
    Hardware,
    /// What the recording says.
    Recorded,
}

impl Timestamps {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Software => "software",
            Self::Hardware => "hardware",
            Self::Recorded => "recorded",
        }
    }
}

/// How a stream of packets ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All packets that there were have arrived.
    Exhausted,
    /// The sender has closed the other end.
    PeerClosed,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exhausted => "all packets have arrived",
            Self::PeerClosed => "the other end was closed",
        })
    }
}
