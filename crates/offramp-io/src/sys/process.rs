// SPDX-License-Identifier: Apache-2.0
//! Which process this is, as seen by values that a forked child inherits.
//!
//! A number of its own does not tell: the first process of a PID namespace is 1, and so may its child be. The kernel
//! wipes one page in every forked child, whoever forks and by whatever call (`MADV_WIPEONFORK`, Linux 4.14). The page
//! holds how many forks lie behind. A child finds 0 there and counts on from what its parent has noted elsewhere.
//! A thread, and a child of vfork(2), has the memory of its parent, and is its parent here.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Different in this process and in all processes that it was forked from, by way of others included.
#[must_use]
pub fn process() -> u64 {
    static PAGE: OnceLock<&AtomicU64> = OnceLock::new();
    static NOTED: AtomicU64 = AtomicU64::new(0);
    let page = PAGE.get_or_init(wiped_on_fork);
    match page.load(Ordering::SeqCst) {
        0 => {
            let next = NOTED.load(Ordering::SeqCst) + 1;
            match page.compare_exchange(0, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    NOTED.fetch_max(next, Ordering::SeqCst);
                    next
                }
                Err(another_threads) => another_threads,
            }
        }
        forks => forks,
    }
}

/// A page for the life of this process.
///
/// # Panics
/// If there is no memory for a page. It is called when the module is loaded, and Python makes an error of it.
fn wiped_on_fork() -> &'static AtomicU64 {
    const PAGE: usize = 4096; // at least; the kernel gives whole pages
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping at an address of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED, "no memory for a page");
    // SAFETY: exactly the range that was just mapped.
    let result = unsafe { libc::madvise(start, PAGE, libc::MADV_WIPEONFORK) };
    assert_eq!(result, 0, "MADV_WIPEONFORK needs Linux 4.14");
    // SAFETY: zeros, aligned, never unmapped.
    unsafe { &*start.cast::<AtomicU64>() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_in_all_threads() {
        let here = process();
        assert_ne!(here, 0);
        assert_eq!(std::thread::spawn(process).join().unwrap(), here);
    }
}
