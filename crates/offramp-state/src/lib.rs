// SPDX-License-Identifier: Apache-2.0
//! Sets that change while eBPF programs and native code read them: one writer, readers that never wait.
//! No system calls.
//!
//! ```text
//! Python ──> Set ──lock──> Writer ──> Container ──atomics──> memory <── eBPF, native code, Set::matches
//! ```
//!
//! - [`shape`]: what a set is, and how many bytes it takes
//! - [`region`]: the memory, as atomic words; the only unsafe code.  [`readers`]: who reads it in this process
//! - [`structure`]: all kinds of sets, one line each
//! - [`container`]: what each kind does in its own way
//! - [`bitmap`], [`hash`], [`prefixes`]: the kinds; `offramp/emit/sets/` reads them
//! - [`tree`]: ranges of addresses; for [`prefixes`], the networks that are inside no other
//! - [`address`]: IP addresses and networks as numbers
//! - [`item`]: elements of all families.  [`text`]: how they are written
//! - [`set`]: one interface for all of them.  [`writer`]: who may change it
//!
//! Why a reader is never wrong, whatever the writer does meanwhile:
//!
//! 1. The first word of the memory says which part is current: a half, or a tree's root. Each look-up loads it once.
//! 2. In the current part, nothing that leads to a member that stays is ever changed, except by one store of one word.
//!    By that store another member appears or disappears.
//! 3. What cannot be done so is made in memory that nobody reads. A store (release) to the first word makes it current.
//!    A reader follows that word by address, so what it finds there is at least as new.
//! 4. Memory that was current is written again only after a grace period: when all readers that may have begun before
//!    have ended. [`region::Memory::wait`] waits for programs in the kernel, [`readers`] for native code.

pub mod address;
pub mod bitmap;
pub mod container;
pub mod error;
pub mod hash;
pub mod item;
pub mod prefixes;
pub mod readers;
pub mod region;
pub mod set;
pub mod shape;
pub mod structure;
pub mod text;
pub mod tree;
pub mod writer;

pub use address::Prefix;
pub use error::Error;
pub use item::{Family, Item, Items, Wrong};
pub use region::{Heap, Memory};
pub use set::{Reader, Set};
pub use shape::Shape;
pub use structure::Structure;
pub use writer::Writer;
