// SPDX-License-Identifier: Apache-2.0
//! Packet headers: where they lie in a frame, what they say, and columns of them.
//!
//! ```text
//! frame bytes --Layers::parse--> offsets of the headers --Columns::parse-> one array per field
//!                                        |
//!                                        +--swap_addresses--> the same frame, on its way back, its checksum finished
//! ```
//!
//! A header type is constructed by one length check; after it every accessor is a plain load that cannot panic. Values
//! are in host byte order; addresses of more than 32 bits are byte arrays in wire order. Only [`Columns`] allocates.
//! There is no `unsafe` and no system call: a hostile frame can at most be reported as having fewer layers.

#![forbid(unsafe_code)]

mod checksum;
mod columns;
mod headers;
mod layers;
mod swap;

pub use checksum::finish_checksum;
pub use columns::{Column, Columns, FIELDS, Layer};
pub use headers::{Ethernet, Ipv4, Ipv6, Tcp, Udp, Vlan};
pub use layers::{Layers, Network, Transport};
pub use swap::swap_addresses;
