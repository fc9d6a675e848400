// SPDX-License-Identifier: Apache-2.0
//! The kernel's own fastest ordinary way to receive datagrams, recvmmsg(2), to compare ports with.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::sys::{Datagrams, poll_readable};

const MESSAGES: usize = 256;
const SIZE: usize = 2048;

/// Receives and discards datagrams for `time`; returns how many there were.
pub fn drain(socket: BorrowedFd<'_>, time: Duration) -> Result<u64, Error> {
    let mut datagrams = Datagrams::new(MESSAGES, SIZE);
    let deadline = Instant::now() + time;
    let mut received = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(received);
        }
        match datagrams.receive(socket) {
            Ok(got) => received += got as u64,
            Err(libc::EAGAIN) => {
                drop(poll_readable(
                    &[socket.as_raw_fd()],
                    left.min(Duration::from_millis(100)),
                )?);
            }
            Err(libc::EINTR) => {}
            Err(errno) => {
                return Err(Error::System {
                    what: "recvmmsg".into(),
                    errno,
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
