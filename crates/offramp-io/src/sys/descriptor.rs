// SPDX-License-Identifier: Apache-2.0
//! File descriptors: flags that a thread can sleep on, and what a forked child does with its parent's descriptors.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::errno::check;
use crate::error::Error;

/// A flag that polls readable while it is raised: eventfd(2).
pub fn eventfd() -> Result<OwnedFd, Error> {
    // SAFETY: no pointers.
    let fd = check(
        unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) },
        || "an eventfd".into(),
    )?;
    // SAFETY: fresh from the kernel, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Raises the flag. Raising it twice is the same as once.
pub fn raise(flag: BorrowedFd<'_>) {
    let one = 1_u64;
    // SAFETY: eight bytes, which is what an eventfd takes. It fails only if the flag has been raised 2^64 - 2 times.
    unsafe { libc::write(flag.as_raw_fd(), (&raw const one).cast(), 8) };
}

/// Lowers the flag, if it is raised.
pub fn lower(flag: BorrowedFd<'_>) {
    let mut count = 0_u64;
    // SAFETY: eight bytes, which is what an eventfd gives; it does not wait.
    unsafe { libc::read(flag.as_raw_fd(), (&raw mut count).cast(), 8) };
}

/// For a forked child: makes the numbers of the parent's descriptors lead to a flag that nobody raises.
pub fn lead_nowhere(fds: impl IntoIterator<Item = i32>) {
    let Ok(nowhere) = eventfd() else { return };
    for fd in fds {
        // SAFETY: no pointers. The child owns its copies of the descriptors, and lets go of what they led to.
        unsafe { libc::dup3(nowhere.as_raw_fd(), fd, libc::O_CLOEXEC) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;
    use crate::sys::poll_readable;

    #[test]
    fn a_flag_is_raised_and_lowered_and_can_be_led_nowhere() {
        let flag = eventfd().unwrap();
        let raised = || poll_readable(&[flag.as_raw_fd()], Duration::ZERO).unwrap()[0];
        lower(flag.as_fd());
        assert!(!raised());
        raise(flag.as_fd());
        raise(flag.as_fd());
        assert!(raised());
        lower(flag.as_fd());
        assert!(!raised());
        raise(flag.as_fd());
        lead_nowhere([flag.as_raw_fd()]);
        assert!(!raised());
    }
}
