// SPDX-License-Identifier: Apache-2.0
//! Something that is worth doing again and again, but not often.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::sys::clock;

/// Says when it is due. Threads that ask at the same moment may all be told that it is.
pub struct Seldom {
    every: u64,
    due: AtomicU64,
}

impl Seldom {
    /// Due at once, and then again after `every`.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self {
            every: every.as_nanos() as u64,
            due: AtomicU64::new(0),
        }
    }

    /// Whether it is due now; then it is not for a while.
    pub fn is_due(&self) -> bool {
        let now = clock(libc::CLOCK_MONOTONIC_COARSE);
        if now < self.due.load(Ordering::Relaxed) {
            return false;
        }
        self.due.store(now + self.every, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_at_once_and_then_not_for_a_while() {
        let hourly = Seldom::new(Duration::from_secs(3600));
        assert_eq!([hourly.is_due(), hourly.is_due()], [true, false]);
        let always = Seldom::new(Duration::ZERO);
        assert_eq!([always.is_due(), always.is_due()], [true, true]);
    }
}
