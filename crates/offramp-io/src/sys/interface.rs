// SPDX-License-Identifier: Apache-2.0
//! Interfaces: ioctl(2) in the network namespace of a socket, netdevice(7).

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::errno::{check, errno};
use crate::error::Error;

type Name = [libc::c_char; libc::IFNAMSIZ];

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

/// Name and flags of the interface with that index. It may be renamed meanwhile.
///
/// # Errors
/// [`Error::LinkGone`] if there is none in the network namespace of the socket.
pub fn name_and_flags(socket: BorrowedFd<'_>, index: i32) -> Result<(String, Flags), Error> {
    let mut request = request();
    let mut name = name_of(socket, &mut request, index)?;
    loop {
        // The kernel is asked for flags by name. So the answer counts only if the interface had this name before and
        // after.
        let flags = ask(socket, libc::SIOCGIFFLAGS, &mut request, index).map(|()| {
            // SAFETY: SIOCGIFFLAGS has set this member.
            Flags(i32::from(unsafe { request.ifr_ifru.ifru_flags }))
        });
        let after = name_of(socket, &mut request, index)?;
        if after == name && flags != Err(Error::LinkGone) {
            let bytes: Vec<u8> = name
                .iter()
                .take_while(|&&byte| byte != 0)
                .map(|&byte| byte as u8)
                .collect();
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), flags?));
        }
        name = after;
    }
}

/// The MTU of the interface with that index, in bytes.
///
/// # Errors
/// [`Error::LinkGone`] if there is none in the network namespace of the socket, or if it was renamed just now.
pub fn mtu(socket: BorrowedFd<'_>, index: i32) -> Result<u32, Error> {
    let mut request = request();
    name_of(socket, &mut request, index)?;
    ask(socket, libc::SIOCGIFMTU, &mut request, index)?;
    // SAFETY: SIOCGIFMTU has set this member.
    Ok(unsafe { request.ifr_ifru.ifru_mtu } as u32)
}

fn name_of(socket: BorrowedFd<'_>, request: &mut libc::ifreq, index: i32) -> Result<Name, Error> {
    request.ifr_ifru.ifru_ifindex = index;
    ask(socket, libc::SIOCGIFNAME, request, index)?;
    Ok(request.ifr_name)
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
        result => check(result, || format!("the flags of interface {index}")).map(drop),
    }
}
