// SPDX-License-Identifier: Apache-2.0
//! What an interface's driver says: SIOCETHTOOL, include/uapi/linux/ethtool.h.

use std::os::fd::{AsRawFd, BorrowedFd};

const GCHANNELS: u32 = 0x3c;

/// struct `ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// The interface's transmit queues in use, in the network namespace of the socket; `None` if its driver does not tell.
pub fn transmit_queues(socket: BorrowedFd<'_>, name: &str) -> Option<u32> {
    let mut channels = Channels {
        command: GCHANNELS,
        ..Channels::default()
    };
    // SAFETY: zeros are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.as_bytes();
    if bytes.len() >= libc::IFNAMSIZ {
        return None; // an alternative name, which this call does not know
    }
    for (place, &byte) in request.ifr_name.iter_mut().zip(bytes) {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut channels).cast();
    // SAFETY: the command reads and writes a struct ethtool_channels.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    (result == 0).then_some(channels.tx + channels.combined)
}
