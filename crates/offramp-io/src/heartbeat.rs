// SPDX-License-Identifier: Apache-2.0
//! The reader tells the XDP program that it is alive, so that a stopped reader does not black-hole its flow.
//!
//! The map is a `BPF_F_MMAPABLE` array of one element: a u64 per queue, the time of the last look at that queue in
//! nanoseconds of the machine's `CLOCK_MONOTONIC_COARSE`, as `bpf_ktime_get_coarse_ns` tells it (Linux 5.11).
//! In a time namespace this process reads that clock with an offset, so the caller says how far the machine is ahead.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::error::Error;
use crate::events::{Events, Happening};
use crate::sys::{Mapping, clock};

/// Where a queue's heartbeat is, and how long it may be silent before its flow goes to the kernel.
#[derive(Clone)]
struct Heart {
    /// The queue's number on the interface, and its place in the port.
    queue: usize,
    place: usize,
    stall: u64,
    /// How many nanoseconds the machine's clock is ahead of this process's.
    ahead: i64,
    events: Arc<Events>,
}

/// What a program knows of the readers of its queues.
#[derive(Clone, Copy)]
pub struct Heartbeats<'a> {
    /// The map in which the program checks whether they live.
    pub map: BorrowedFd<'a>,
    /// How long it waits before it gives up on one; `None`: for ever.
    pub stall: Option<Duration>,
    /// How many nanoseconds the machine's clock is ahead of this process's.
    pub ahead: i64,
}

impl Heart {
    fn beat(&self, memory: &Mapping) {
        let cell = memory.at::<AtomicU64>(self.queue * size_of::<u64>());
        // SAFETY: inside the mapping, aligned, and accessed atomically by both sides.
        let cell = unsafe { cell.as_ref() };
        let now = clock(libc::CLOCK_MONOTONIC_COARSE).wrapping_add_signed(self.ahead);
        let nanoseconds = now.saturating_sub(cell.load(Ordering::Relaxed));
        cell.store(now, Ordering::Relaxed);
        if nanoseconds > self.stall {
            let queue = self.place;
            self.events.push(Happening::ReaderBack { queue, nanoseconds });
        }
    }
}

/// The heartbeat of one queue.
pub struct Heartbeat {
    memory: Arc<Mapping>,
    heart: Heart,
}

impl Heartbeat {
    /// Maps the heartbeats of an interface, and makes all of them beat now. Returns those of `queues`. If a heart was
    /// silent for longer than the program waits, the next beat makes an event.
    pub fn map(with: Heartbeats<'_>, queues: &[u32], events: &Arc<Events>) -> Result<Vec<Self>, Error> {
        let Heartbeats { map, stall, ahead } = with;
        let count = queues.iter().max().map_or(0, |&queue| queue as usize + 1);
        let memory = Arc::new(Mapping::of_file(map, count * size_of::<u64>(), 0, "heartbeats")?);
        let stall = stall.map_or(u64::MAX, |stall| u64::try_from(stall.as_nanos()).unwrap_or(u64::MAX));
        let heart = |queue, place, stall| Heart {
            queue,
            place,
            stall,
            ahead,
            events: Arc::clone(events),
        };
        (0..count).for_each(|queue| heart(queue, 0, u64::MAX).beat(&memory));
        let places = queues.iter().enumerate();
        Ok(places
            .map(|(place, &queue)| Self {
                memory: Arc::clone(&memory),
                heart: heart(queue as usize, place, stall),
            })
            .collect())
    }

    /// Another handle to the same heartbeat, which does not keep the map alive.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse {
            memory: Arc::downgrade(&self.memory),
            heart: self.heart.clone(),
        }
    }

    pub fn beat(&self) {
        self.heart.beat(&self.memory);
    }
}

/// See [`Heartbeat::pulse`].
pub struct Pulse {
    memory: Weak<Mapping>,
    heart: Heart,
}

impl Pulse {
    /// Beats, unless the map is gone.
    pub fn beat(&self) {
        if let Some(memory) = self.memory.upgrade() {
            self.heart.beat(&memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_longer_than_stall_is_told_when_it_ends() {
        let memory = Arc::new(Mapping::sparse(4096, "a test").unwrap());
        let heart = |stall| Heart {
            queue: 3,
            place: 1,
            stall,
            ahead: 0,
            events: Arc::default(),
        };
        let never = heart(u64::MAX);
        never.beat(&memory);
        assert!(never.events.take().is_empty());
        let at_once = heart(0);
        std::thread::sleep(Duration::from_millis(50));
        at_once.beat(&memory);
        let told = at_once.events.take();
        assert!(
            matches!(
                told[0].what,
                Happening::ReaderBack {
                    queue: 1,
                    nanoseconds: 1..
                }
            ),
            "{told:?}"
        );
    }
}
