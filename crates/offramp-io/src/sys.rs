// SPDX-License-Identifier: Apache-2.0
//! The seam to libc: each call once, with its error named.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Duration;

use crate::error::Error;

pub const REALTIME: libc::clockid_t = libc::CLOCK_REALTIME;

/// The errno of the last call.
#[must_use]
pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// `result`, or the errno if it is negative.
pub fn check(result: i32, what: impl FnOnce() -> String) -> Result<i32, Error> {
    if result < 0 {
        Err(Error::System {
            errno: errno(),
            what: what(),
        })
    } else {
        Ok(result)
    }
}

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

/// Nanoseconds of the given clock.
#[must_use]
pub fn clock(id: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writing; the clocks used here exist on every Linux.
    unsafe { libc::clock_gettime(id, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Memory mapped by this process, unmapped when dropped.
pub struct Mapping {
    start: NonNull<u8>,
    size: usize,
    /// The process that made it. A forked child must not unmap what it may not even have (see [`Self::of_file`]).
    process: u32,
}

// SAFETY: plain memory; who may access it when is up to the users of `start`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(size: usize, flags: i32, fd: i32, offset: i64, what: &str) -> Result<Self, Error> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, fd, offset) };
        match NonNull::new(start.cast()) {
            Some(start) if start.as_ptr() as isize != -1 => Ok(Self {
                start,
                size,
                process: std::process::id(),
            }),
            _ => Err(Error::System {
                what: format!("mapping {size} bytes for {what}"),
                errno: errno(),
            }),
        }
    }

    /// Private zeroed memory, in the process from the start: in huge pages if the system gives them to those who ask, since
    /// packets are read once, each on another page. (Linux 5.14.)
    pub fn anonymous(size: usize, what: &str) -> Result<Self, Error> {
        let mapping = Self::new(size, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0, what)?;
        let start = mapping.start.as_ptr().cast();
        // SAFETY: exactly the range that was just mapped. A wish: it may be refused.
        unsafe { libc::madvise(start, size, libc::MADV_HUGEPAGE) };
        // SAFETY: as above.
        let result = unsafe { libc::madvise(start, size, libc::MADV_POPULATE_WRITE) };
        check(result, || format!("{size} bytes of memory for {what}"))?;
        Ok(mapping)
    }

    /// Private zeroed memory that the system gives page by page, when it is first written to.
    pub fn sparse(size: usize, what: &str) -> Result<Self, Error> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        Self::new(size, flags, -1, 0, what)
    }

    /// The memory behind a file, shared, with forked children as well.
    pub fn of_shared_file(fd: BorrowedFd<'_>, size: usize, what: &str) -> Result<Self, Error> {
        Self::new(size, libc::MAP_SHARED, fd.as_raw_fd(), 0, what)
    }

    /// The memory behind a file, shared. Forked children do not get it: a mapping holds a reference to the file, so a child would
    /// keep a socket bound or a map alive that its parent has closed.
    pub fn of_file(fd: BorrowedFd<'_>, size: usize, offset: i64, what: &str) -> Result<Self, Error> {
        let mapping = Self::new(
            size,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            fd.as_raw_fd(),
            offset,
            what,
        )?;
        // SAFETY: exactly the range that was just mapped.
        let result = unsafe { libc::madvise(mapping.start.as_ptr().cast(), size, libc::MADV_DONTFORK) };
        check(result, || format!("madvise(MADV_DONTFORK) for {what}"))?;
        Ok(mapping)
    }

    /// A copy of `content` that can be executed and no longer be written.
    pub fn executable(content: &[u8], what: &str) -> Result<Self, Error> {
        let mapping = Self::new(content.len(), libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0, what)?;
        let start = mapping.start.as_ptr();
        // SAFETY: fresh memory of that size, seen by nobody else.
        unsafe { std::ptr::copy_nonoverlapping(content.as_ptr(), start, content.len()) };
        // SAFETY: exactly the range that was just mapped.
        let result = unsafe { libc::mprotect(start.cast(), content.len(), libc::PROT_READ | libc::PROT_EXEC) };
        check(result, || format!("making {what} executable"))?;
        Ok(mapping)
    }

    #[must_use]
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// A pointer to a `T` at `offset`.
    ///
    /// # Panics
    /// If it would lie outside or be misaligned.
    #[must_use]
    pub fn at<T>(&self, offset: usize) -> NonNull<T> {
        assert!(
            offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.size),
            "offset {offset} is outside"
        );
        // SAFETY: inside the mapping, as just checked.
        let place = unsafe { self.start.add(offset) }.cast::<T>();
        assert!(place.is_aligned(), "offset {offset} is misaligned");
        place
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if std::process::id() == self.process {
            // SAFETY: exactly the range that this process mapped.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
        }
    }
}
