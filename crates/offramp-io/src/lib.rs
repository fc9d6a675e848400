// SPDX-License-Identifier: Apache-2.0
//! Ports: ways of getting frames in and out of user space, behind one trait. The only crate that makes system calls.
//!
//! - [`port`]: its queues, and how to wait for them
//! - [`port_queue`]: the contract of each queue; [`ringed`]: the contract for queues over rings; [`counters`]
//! - [`lengths`]: how long the frames may be that a queue sends
//! - [`ports`]: the registry, and one file per kind
//! - [`link`]: is the interface still there?  [`heartbeat`]: is the reader still alive?  [`events`]: what they noticed
//! - [`memory`]: where sets live, and the wait for programs that read them
//! - [`code`]: compiled matches, run on packets in memory
//! - [`udp`]: the kernel's own way to receive, for comparison
//! - [`sys`]: the seam to libc

pub mod code;
pub mod counters;
pub mod error;
pub mod events;
pub mod heartbeat;
pub mod lengths;
pub mod link;
pub mod memory;
pub mod port;
pub mod port_queue;
pub mod ports;
pub mod ringed;
mod rtnetlink;
pub mod seldom;
pub mod sys;
pub mod udp;

pub use code::{Code, Packets};
pub use counters::Counters;
pub use error::Error;
pub use events::{Event, Events, Happening};
pub use heartbeat::{Heartbeat, Heartbeats, Pulse};
pub use lengths::{Lengths, Mtu, Unsendable};
pub use link::Link;
pub use memory::{MapMemory, OwnMemory};
pub use port::{Look, Parts, Port};
pub use port_queue::{End, Facts, PortQueue, Timestamps};
pub use ringed::{OtherSide, Ringed};
pub use seldom::Seldom;
