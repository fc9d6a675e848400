// SPDX-License-Identifier: Apache-2.0
//! What happens to a port while it runs, kept until somebody asks. If nobody does, only the newest are kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::{REALTIME, clock};

/// How many events may wait. After that each new one pushes out the oldest.
pub const WAITING: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The interface is up and has lost its carrier; or has it again.
    CarrierLost,
    CarrierBack,
    /// Somebody set the interface down; or up.
    Down,
    Up,
    /// It was removed.
    Gone,
    /// It was moved to another network namespace: its id, as this namespace numbers it, and the index there, if known.
    Moved {
        netns: i32,
        ifindex: Option<u32>,
    },
    Renamed {
        name: String,
    },
    MtuChanged {
        mtu: u32,
    },
    /// Nobody had looked at a queue for so long that its flow went to the kernel; now somebody looks again.
    ReaderBack {
        queue: usize,
        nanoseconds: u64,
    },
}

impl Happening {
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CarrierLost => "carrier-lost",
            Self::CarrierBack => "carrier-back",
            Self::Down => "down",
            Self::Up => "up",
            Self::Gone => "gone",
            Self::Moved { .. } => "moved",
            Self::Renamed { .. } => "renamed",
            Self::MtuChanged { .. } => "mtu-changed",
            Self::ReaderBack { .. } => "reader-back",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it was noticed: nanoseconds since 1970.
    pub time: u64,
    pub what: Happening,
}

/// The events of one port or one interface.
#[derive(Default)]
pub struct Events {
    waiting: Mutex<VecDeque<Event>>,
    dropped: AtomicU64,
}

impl Events {
    pub fn push(&self, what: Happening) {
        let time = clock(REALTIME);
        let mut waiting = self.lock();
        if waiting.len() == WAITING {
            waiting.pop_front();
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        waiting.push_back(Event { time, what });
    }

    /// The waiting events, the oldest first. Each is told once.
    #[must_use]
    pub fn take(&self) -> Vec<Event> {
        self.lock().drain(..).collect()
    }

    /// How many were pushed out by newer ones before they were told.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_in_order_and_told_once() {
        let events = Events::default();
        let stalled = |nanoseconds| Happening::ReaderBack { queue: 0, nanoseconds };
        (0..WAITING as u64 + 10).for_each(|number| events.push(stalled(number)));
        let told = events.take();
        assert_eq!(told.len(), WAITING);
        assert_eq!(told[0].what, stalled(10));
        assert!(told.is_sorted_by_key(|event| event.time));
        assert!(events.take().is_empty());
        assert_eq!(events.dropped(), 10);
    }
}
