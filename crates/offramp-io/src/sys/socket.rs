// SPDX-License-Identifier: Apache-2.0
//! Sockets: what every kind of them has, and the two kicks of AF_XDP.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::errno::{check, errno};
use crate::error::Error;

/// socket(2), close-on-exec.
pub fn socket(domain: i32, kind: i32, protocol: i32, name: &str) -> Result<OwnedFd, Error> {
    // SAFETY: no pointers.
    let fd = check(
        unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) },
        || format!("{name} socket"),
    )?;
    // SAFETY: fresh from the kernel, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// setsockopt(2) with a plain C structure.
pub fn set_option<T>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &T, what: &str) -> Result<(), Error> {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and the size describe `value`.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), size) };
    check(result, || what.to_owned()).map(drop)
}

/// getsockopt(2) into a plain C structure; a kernel that knows fewer fields leaves the rest zero.
///
/// # Safety
/// Every bit pattern is a valid `T`.
pub unsafe fn get_option<T>(fd: BorrowedFd<'_>, level: i32, name: i32, what: &str) -> Result<T, Error> {
    // SAFETY: by this function's contract, zeros are a valid T.
    let mut value: T = unsafe { std::mem::zeroed() };
    let mut size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and the size describe `value`.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut size) };
    check(result, || what.to_owned()).map(|_| value)
}

/// Waits until one of `fds` has something to read. Returns which; none after the timeout or a signal.
pub fn poll_readable(fds: &[i32], timeout: Duration) -> Result<Vec<bool>, Error> {
    let mut entries: Vec<_> = fds
        .iter()
        .map(|&fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // Rounded up, so that a wait of less than a millisecond is not a busy loop.
    let milliseconds = i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    // SAFETY: the pointer and the count describe `entries`.
    let result = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, milliseconds) };
    if result < 0 && errno() != libc::EINTR {
        return Err(Error::System {
            what: "poll".into(),
            errno: errno(),
        });
    }
    Ok(entries.iter().map(|entry| result > 0 && entry.revents != 0).collect())
}

/// bind(2) to an address of any family.
pub fn bind<T>(fd: BorrowedFd<'_>, address: &T, what: impl FnOnce() -> String) -> Result<(), Error> {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and the size describe `address`.
    let result = unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(address).cast(), size) };
    check(result, what).map(drop)
}

/// What came of a kick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kicked {
    /// The kernel has sent what it could.
    Looked,
    /// EBUSY: in copy mode, the interface has dropped one frame, and nothing behind it was looked at. In zero-copy mode
    /// the driver is busy.
    Busy,
}

/// Makes the kernel look at the tx ring of an AF_XDP socket, by an empty sendto(2). It is not an error if the kernel
/// cannot do so now because the driver's queue is full or another CPU is at it.
pub fn kick_tx(fd: BorrowedFd<'_>) -> Result<Kicked, Error> {
    // SAFETY: no data and no address.
    let result = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            std::ptr::null(),
            0,
            libc::MSG_DONTWAIT,
            std::ptr::null(),
            0,
        )
    };
    match check(result as i32, || "sending".into()) {
        Err(Error::System { errno: libc::EBUSY, .. }) => Ok(Kicked::Busy),
        Err(Error::System {
            errno: libc::EAGAIN | libc::ENOBUFS | libc::EINTR,
            ..
        }) => Ok(Kicked::Looked),
        result => result.map(|_| Kicked::Looked),
    }
}

/// Makes the kernel look at the fill ring of an AF_XDP socket, by an empty recv(2). Its result tells nothing that poll
/// does not tell better.
pub fn kick_rx(fd: BorrowedFd<'_>) {
    // SAFETY: no data.
    unsafe { libc::recv(fd.as_raw_fd(), std::ptr::null_mut(), 0, libc::MSG_DONTWAIT) };
}

/// recv(2): the length of one datagram, or the errno.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, i32> {
    // SAFETY: the pointer and the size describe `buffer`.
    let length = unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    usize::try_from(length).map_err(|_| errno())
}

/// send(2): one datagram to the kernel, or to whom the socket is connected. netlink(7) answers before this returns.
pub fn send(fd: BorrowedFd<'_>, datagram: &[u8], what: &str) -> Result<(), Error> {
    // SAFETY: the pointer and the size describe `datagram`.
    let result = unsafe { libc::send(fd.as_raw_fd(), datagram.as_ptr().cast(), datagram.len(), 0) };
    check(result as i32, || what.to_owned()).map(drop)
}

/// Buffers for many datagrams at once: recvmmsg(2).
pub struct Datagrams {
    headers: Box<[libc::mmsghdr]>,
    _vectors: Box<[libc::iovec]>,
    _buffers: Box<[u8]>,
}

impl Datagrams {
    /// Room for `count` datagrams of `size` bytes.
    #[must_use]
    pub fn new(count: usize, size: usize) -> Self {
        let mut buffers = vec![0_u8; count * size].into_boxed_slice();
        let mut vectors: Box<[_]> = buffers
            .chunks_exact_mut(size)
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: size,
            })
            .collect();
        // SAFETY: zeros are a valid mmsghdr.
        let mut headers = vec![unsafe { std::mem::zeroed::<libc::mmsghdr>() }; count].into_boxed_slice();
        for (header, vector) in headers.iter_mut().zip(&mut vectors) {
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        Self {
            headers,
            _vectors: vectors,
            _buffers: buffers,
        }
    }

    /// Receives the datagrams that are there, without waiting, and overwrites earlier ones. Returns how many, or the
    /// errno.
    pub fn receive(&mut self, fd: BorrowedFd<'_>) -> Result<usize, i32> {
        let (start, count) = (self.headers.as_mut_ptr(), self.headers.len() as u32);
        // SAFETY: `headers` describes `vectors`, which describe `buffers`; all stay where they are as long as this
        // value lives.
        let got = unsafe { libc::recvmmsg(fd.as_raw_fd(), start, count, libc::MSG_DONTWAIT, std::ptr::null_mut()) };
        usize::try_from(got).map_err(|_| errno())
    }
}
