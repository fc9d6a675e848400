// SPDX-License-Identifier: Apache-2.0
//! mmap(2) and what belongs to it.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use super::errno::{check, errno};
use super::process;
use crate::error::Error;

/// Memory mapped by this process, unmapped when dropped.
pub struct Mapping {
    start: NonNull<u8>,
    size: usize,
    /// The process that made it. A forked child must not unmap what it may not even have (see [`Self::of_file`]).
    process: u64,
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
                process: process(),
            }),
            _ => Err(Error::System {
                what: format!("mapping {size} bytes for {what}"),
                errno: errno(),
            }),
        }
    }

    /// Private zeroed memory, present from the start. It is in huge pages if the system gives them on request, because
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

    /// Private zeroed memory that the system provides page by page, when each page is first written to.
    pub fn sparse(size: usize, what: &str) -> Result<Self, Error> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        Self::new(size, flags, -1, 0, what)
    }

    /// The memory behind a file, shared, also with forked children.
    pub fn of_shared_file(fd: BorrowedFd<'_>, size: usize, what: &str) -> Result<Self, Error> {
        Self::new(size, libc::MAP_SHARED, fd.as_raw_fd(), 0, what)
    }

    /// The memory behind a file, shared. Forked children do not get it: a mapping holds a reference to the file. So a
    /// child would keep a socket bound, or a map alive, after its parent has closed it.
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

    /// A copy of `content` that can be executed but no longer written.
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
        if process() == self.process {
            // SAFETY: exactly the range that this process mapped.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
        }
    }
}
