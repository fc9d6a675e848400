// SPDX-License-Identifier: Apache-2.0
//! Interfaces, asked by ioctl(2) in the network namespace of a socket: netdevice(7).

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{check, errno};
use crate::error::Error;

/// `ifr_flags`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub i32);

impl Flags {
    #[must_use]
    pub const fn up(self) -> bool {
        self.0 & libc::IFF_UP != 0
    }

    /// Whether packets can pass: it is up and has a carrier.
    #[must_use]
    pub const fn running(self) -> bool {
        self.0 & libc::IFF_RUNNING != 0
    }
}

/// The index of an interface, in the network namespace of this thread.
pub fn index_of(name: &str) -> Result<u32, Error> {
    let missing = || Error::NoInterface { name: name.to_owned() };
    let text = CString::new(name).map_err(|_| missing())?;
    // SAFETY: a string with its zero.
    match unsafe { libc::if_nametoindex(text.as_ptr()) } {
        0 if errno() == libc::ENODEV => Err(missing()),
        0 => Err(check(-1, || format!("the index of interface {name}")).unwrap_err()),
        index => Ok(index),
    }
}

pub fn name_of(socket: BorrowedFd<'_>, index: i32) -> Result<String, Error> {
    let mut request = request();
    request.ifr_ifru.ifru_ifindex = index;
    ask(socket, libc::SIOCGIFNAME, &mut request, index)?;
    let name = request.ifr_name.iter().map(|&byte| byte as u8);
    let name: Vec<u8> = name.take_while(|&byte| byte != 0).collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

pub fn flags_of(socket: BorrowedFd<'_>, index: i32) -> Result<Flags, Error> {
    let mut request = request();
    request.ifr_ifru.ifru_ifindex = index;
    ask(socket, libc::SIOCGIFNAME, &mut request, index)?;
    ask(socket, libc::SIOCGIFFLAGS, &mut request, index)?;
    // SAFETY: SIOCGIFFLAGS has set this member.
    Ok(Flags(i32::from(unsafe { request.ifr_ifru.ifru_flags })))
}

fn request() -> libc::ifreq {
    // SAFETY: zeros are a valid ifreq.
    unsafe { std::mem::zeroed() }
}

fn ask(socket: BorrowedFd<'_>, what: libc::c_ulong, request: &mut libc::ifreq, index: i32) -> Result<(), Error> {
    // SAFETY: both requests that are made here read and write an ifreq.
    match unsafe { libc::ioctl(socket.as_raw_fd(), what, std::ptr::from_mut(request)) } {
        0.. => Ok(()),
        _ if errno() == libc::ENODEV => Err(Error::LinkGone),
        result => check(result, || format!("flags of interface {index}")).map(drop),
    }
}
