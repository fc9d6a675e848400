// SPDX-License-Identifier: Apache-2.0
//! The seam to libc: each call once, with its error named. No other file of this crate calls it.

mod descriptor;
mod errno;
mod ethtool;
mod interface;
mod mapping;
mod process;
mod socket;

pub use descriptor::{eventfd, lead_nowhere, lower, raise};
use errno::errno;
pub use ethtool::transmit_queues;
pub use interface::{Flags, Seen, index_of, seen};
pub use mapping::Mapping;
pub use process::process;
pub use socket::{
    Datagrams, Kicked, bind, get_option, kick_rx, kick_tx, poll_readable, receive, send, set_option, socket,
};

pub const REALTIME: libc::clockid_t = libc::CLOCK_REALTIME;

/// Nanoseconds of the given clock.
#[must_use]
pub fn clock(id: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writing; the clocks used here exist on every Linux.
    unsafe { libc::clock_gettime(id, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// membarrier(2) with `MEMBARRIER_CMD_GLOBAL`: waits until every RCU read-side critical section that began before has
/// ended, on all CPUs.
pub fn membarrier() -> Result<(), i32> {
    const GLOBAL: libc::c_int = 1 << 0; // include/uapi/linux/membarrier.h
    // SAFETY: no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if result < 0 { Err(errno()) } else { Ok(()) }
}
