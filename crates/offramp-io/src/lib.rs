// SPDX-License-Identifier: Apache-2.0
//! Ports: ways of getting frames in and out of user space, behind one trait. The only crate that makes system calls.
//!
//! - [`port`]: the contract, and everything that is the same for all ports
//! - [`af_xdp`], [`null`]: one file per technique
//! - [`memory`]: where sets live, and the wait for programs that read them
//! - [`link`]: is the interface still there?  [`heartbeat`]: is the reader still alive?
//! - [`code`]: compiled matches, run on packets in memory
//! - [`udp`]: the kernel's own way to receive, for comparison
//! - [`sys`]: the seam to libc

pub mod af_xdp;
pub mod code;
pub mod error;
pub mod heartbeat;
pub mod link;
pub mod memory;
pub mod null;
pub mod port;
pub mod sys;
pub mod udp;

pub use af_xdp::{AfXdp, Binding, Copying};
pub use code::{Code, Packets};
pub use error::Error;
pub use heartbeat::{Heartbeat, Pulse};
pub use link::Link;
pub use memory::{MapMemory, OwnMemory};
pub use null::Null;
pub use port::{KernelCounters, Port};
