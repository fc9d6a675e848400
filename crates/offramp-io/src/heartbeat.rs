// SPDX-License-Identifier: Apache-2.0
//! The reader tells the XDP program that it is alive, so that a stopped reader does not black-hole its flow.
//!
//! The map is a `BPF_F_MMAPABLE` array of one element: a u64 per queue, the time of the last look at that queue in nanoseconds of
//! `CLOCK_MONOTONIC_COARSE`, the clock of the helper `bpf_ktime_get_coarse_ns` (Linux 5.11).

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use crate::error::Error;
use crate::sys::{Mapping, clock};

/// The heartbeat of one queue.
pub struct Heartbeat {
    memory: Arc<Mapping>,
    queue: usize,
}

impl Heartbeat {
    /// Maps the heartbeats of `queues` queues, all beating now.
    pub fn map(fd: BorrowedFd<'_>, queues: usize) -> Result<Vec<Self>, Error> {
        let memory = Arc::new(Mapping::of_file(fd, queues * size_of::<u64>(), 0, "heartbeats")?);
        let hearts: Vec<_> = (0..queues)
            .map(|queue| Self {
                memory: Arc::clone(&memory),
                queue,
            })
            .collect();
        hearts.iter().for_each(Self::beat);
        Ok(hearts)
    }

    /// Another hand on the same heart, which does not keep the map alive.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse {
            memory: Arc::downgrade(&self.memory),
            queue: self.queue,
        }
    }

    pub fn beat(&self) {
        let cell = self.memory.at::<AtomicU64>(self.queue * size_of::<u64>());
        // SAFETY: inside the mapping, aligned, and accessed atomically by both sides.
        unsafe { cell.as_ref() }.store(clock(libc::CLOCK_MONOTONIC_COARSE), Ordering::Relaxed);
    }
}

/// See [`Heartbeat::pulse`].
pub struct Pulse {
    memory: Weak<Mapping>,
    queue: usize,
}

impl Pulse {
    /// Beats, unless the map is gone.
    pub fn beat(&self) {
        if let Some(memory) = self.memory.upgrade() {
            let queue = self.queue;
            Heartbeat { memory, queue }.beat();
        }
    }
}
