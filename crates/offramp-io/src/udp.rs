// SPDX-License-Identifier: Apache-2.0
//! The kernel's own fastest ordinary way to receive datagrams, recvmmsg(2), to compare ports with.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::sys::{errno, poll_readable};

const MESSAGES: usize = 256;
const SIZE: usize = 2048;

/// Receives and discards datagrams for `time`; returns how many there were.
pub fn drain(socket: BorrowedFd<'_>, time: Duration) -> Result<u64, Error> {
    let mut buffers = vec![[0_u8; SIZE]; MESSAGES];
    let mut vectors: Vec<_> = buffers
        .iter_mut()
        .map(|b| libc::iovec {
            iov_base: b.as_mut_ptr().cast(),
            iov_len: SIZE,
        })
        .collect();
    // SAFETY: zeros are a valid mmsghdr.
    let mut headers: Vec<libc::mmsghdr> = vec![unsafe { std::mem::zeroed() }; MESSAGES];
    for (header, vector) in headers.iter_mut().zip(&mut vectors) {
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
    }
    let deadline = Instant::now() + time;
    let mut received = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(received);
        }
        let (fd, count) = (socket.as_raw_fd(), MESSAGES as u32);
        // SAFETY: `headers` describes `vectors`, which describe `buffers`; all outlive the call.
        let got = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        match u64::try_from(got) {
            Ok(got) => received += got,
            Err(_) if errno() == libc::EAGAIN => drop(poll_readable(&[fd], left.min(Duration::from_millis(100)))?),
            Err(_) if errno() == libc::EINTR => {}
            Err(_) => {
                return Err(Error::System {
                    what: "recvmmsg".into(),
                    errno: errno(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn counts_what_arrives_and_ends_on_time() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..10 {
            sender.send_to(b"datagram", receiver.local_addr().unwrap()).unwrap();
        }
        assert_eq!(drain(receiver.as_fd(), Duration::from_millis(50)), Ok(10));
    }
}
