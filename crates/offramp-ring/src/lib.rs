// SPDX-License-Identifier: Apache-2.0
//! Rings shared with a kernel, and the frames that travel in them. No system calls: all of it runs on plain memory.
//!
//! ```text
//!              free list <------------ recycle ------------- application (Burst, Held)
//!               |     |                                        ^        |
//!         refill|     |send                             receive|        |transmit
//!               v     v                                        |        v
//!           fill ring  tx ring                             rx ring   tx ring
//!               |         |                                    ^        |
//!   ------------|---------|------------- kernel ---------------|--------|------
//!               +--> a packet arrives, is written, ------------+        v
//!                    completion ring <--------------------- sent -------+
//! ```
//!
//! A frame is in exactly one place, and the type system says in which: [`Frame`] is a token that cannot be copied. The
//! free list holds `Frame`s; the application holds [`Packet`]s (a `Frame` and the part of it that is used). Lending a
//! frame to the kernel consumes the token. It is made again only when the kernel returns an address that was lent to it
//! on that same ring ([`Custody`]). So even a confused kernel cannot make one frame appear twice.
//!
//! - [`ring`]: producer and consumer, with the field's verbs reserve/submit and peek/release
//! - [`umem`]: memory, frames, packets, and who has them
//! - [`burst`]: up to 256 received packets, given back when dropped; `rows`: asked about several at once
//! - [`queue`]: the four rings and the frames of one queue
//! - [`far`]: the other side of the rings, if it is not a kernel; [`metadata`]: a packet's time and its length on the
//!   wire

pub mod burst;
pub mod far;
pub mod metadata;
pub mod queue;
pub mod ring;
mod rows;
pub mod umem;

pub use burst::{BURST, Burst, Held};
pub use far::{Arrivals, Departures, FarSide, HEADROOM, Lent, RxBuffer, TxBuffer, joined};
pub use metadata::{Arrival, Metadata};
pub use queue::{Places, Queue, Rings, Starved};
pub use ring::{Consumer, Descriptor, Producer, RingMemory, pair};
pub use umem::{Custody, Frame, Heap, Loan, Packet, Pool, Region};
