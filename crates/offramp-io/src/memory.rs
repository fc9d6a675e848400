// SPDX-License-Identifier: Apache-2.0
//! Where sets live: in memory of this process, or in the value of a BPF map, where programs in the kernel read them.
//!
//! Memory that a program may be reading can only be written again after the program has ended. Programs run inside an
//! RCU read-side critical section, so they have ended when `synchronize_rcu` returns.
//! `membarrier(MEMBARRIER_CMD_GLOBAL)` waits for it (Linux 4.3; kernel/sched/membarrier.c), without privileges. It
//! takes some 10 ms. On a machine with one CPU it returns at once, which is right, because we do not interrupt a
//! program that runs in softirq. If the kernel was started with `nohz_full=`, it refuses with EINVAL. This is noticed
//! when a set is to move, not when it is in use.
//!
//! After a link was given another program, `offramp.bpf.maps.GracePeriod` waits for the same in another way: it updates
//! a map of maps. That works with `nohz_full=`, too, but takes CAP_BPF, two maps and two descriptors. A set is changed
//! often, and also by those who have no privileges any more.
//!
//! Sources: membarrier(2), Documentation/RCU/whatisRCU.rst, kernel/bpf/syscall.c (maybe_wait_bpf_programs).

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use offramp_state::Memory;

use crate::error::Error;
use crate::sys::{Mapping, membarrier};

const WAITING: &str = "waiting for programs in the kernel (membarrier)";

/// Zeroed memory that no program in the kernel reads. A forked child gets a copy.
pub struct OwnMemory(Mapping);

impl OwnMemory {
    pub fn new(size: usize) -> Result<Self, Error> {
        Mapping::sparse(size, "a set").map(Self)
    }
}

// SAFETY: the mapping lasts as long as the value, begins at a page, and is shown to nobody else.
unsafe impl Memory for OwnMemory {
    fn start(&self) -> NonNull<u8> {
        self.0.start()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn wait(&self) -> Result<(), offramp_state::Error> {
        Ok(())
    }
}

/// The value of a `BPF_F_MMAPABLE` array of one element. A forked child shares it, and keeps the map alive while it
/// runs.
pub struct MapMemory(Mapping);

impl MapMemory {
    /// `size`: the size of the map's value in bytes.
    ///
    /// # Errors
    /// Errors of mmap(2); also if programs cannot be waited for.
    pub fn new(fd: BorrowedFd<'_>, size: usize) -> Result<Self, Error> {
        membarrier().map_err(|errno| Error::System {
            what: WAITING.into(),
            errno,
        })?;
        Mapping::of_shared_file(fd, size, "a set").map(Self)
    }
}

// SAFETY: as above; the programs that read it load whole words.
unsafe impl Memory for MapMemory {
    fn start(&self) -> NonNull<u8> {
        self.0.start()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn wait(&self) -> Result<(), offramp_state::Error> {
        membarrier().map_err(|errno| offramp_state::Error::System { what: WAITING, errno })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use offramp_state::{Family, Item, Set, Shape, Structure};

    #[test]
    fn a_set_lives_in_sparse_memory() {
        let shape = Shape::new(Structure::Hash, Family::Ip, 1 << 20).expect("a shape");
        let set = Set::new(
            shape,
            Box::new(OwnMemory::new(shape.bytes()).expect("memory")),
            crate::sys::process,
        );
        assert_eq!(set.change(|writer| writer.insert(Item::from(7_u64))), Ok(true));
        assert!(set.matches(7) && !set.matches(8));
    }

    #[test]
    fn the_kernel_is_waited_for() {
        assert_eq!(membarrier(), Ok(()));
    }
}
