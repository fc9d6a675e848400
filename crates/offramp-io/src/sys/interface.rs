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

/// What an interface is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub name: String,
    pub flags: Flags,
    pub mtu: u32,
}

/// The interface with that index, now. It may be renamed meanwhile.
///
/// # Errors
/// [`Error::LinkGone`] if there is none in the network namespace of the socket.
pub fn seen(socket: BorrowedFd<'_>, index: i32) -> Result<Seen, Error> {
    let mut request = request();
    let mut name = name_of(socket, &mut request, index)?;
    loop {
        // The kernel is asked by name. So the answers count only if the interface had this name before and after.
        let answers = flags_and_mtu(socket, &mut request, index);
        let after = name_of(socket, &mut request, index)?;
        if after == name && answers != Err(Error::LinkGone) {
            let bytes: Vec<u8> = name
                .iter()
                .take_while(|&&byte| byte != 0)
                .map(|&byte| byte as u8)
                .collect();
            let name = String::from_utf8_lossy(&bytes).into_owned();
            return answers.map(|(flags, mtu)| Seen { name, flags, mtu });
        }
        name = after;
    }
}

/// Of the interface whose name is in the request.
fn flags_and_mtu(socket: BorrowedFd<'_>, request: &mut libc::ifreq, index: i32) -> Result<(Flags, u32), Error> {
    ask(socket, libc::SIOCGIFFLAGS, request, index)?;
    // SAFETY: SIOCGIFFLAGS has set this member.
    let flags = Flags(i32::from(unsafe { request.ifr_ifru.ifru_flags }));
    ask(socket, libc::SIOCGIFMTU, request, index)?;
    // SAFETY: SIOCGIFMTU has set this member.
    Ok((flags, unsafe { request.ifr_ifru.ifru_mtu } as u32))
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
    // SAFETY: all requests that are made here read and write an ifreq.
    match unsafe { libc::ioctl(socket.as_raw_fd(), what, std::ptr::from_mut(request)) } {
        0.. => Ok(()),
        _ if errno() == libc::ENODEV => Err(Error::LinkGone),
        result => check(result, || format!("the state of interface {index}")).map(drop),
    }
}
