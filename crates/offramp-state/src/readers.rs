// SPDX-License-Identifier: Apache-2.0
//! Who reads in this process. Reading costs two atomic additions and never waits; the writer waits for the readers.
//!
//! Readers are counted in one of two counters, by turns. The writer changes the turn, and waits until the counter of
//! the turn before is empty: then all who came before the change have left, and those who come later are counted
//! elsewhere.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[derive(Default)]
pub struct Readers {
    turn: AtomicU64,
    inside: [AtomicUsize; 2],
}

/// Spins before the writer starts to sleep.
const PATIENCE: u32 = 64;

impl Readers {
    /// Enters. The result has to be given to [`Self::leave`].
    #[must_use]
    pub fn enter(&self) -> usize {
        loop {
            let turn = self.turn.load(Ordering::SeqCst);
            let side = (turn & 1) as usize;
            self.inside[side].fetch_add(1, Ordering::SeqCst);
            // All of this is in one total order. If the turn is still the same, our addition comes before the next
            // change of the turn, and the writer that makes the change sees us. If not, it may have looked already: try
            // again.
            if self.turn.load(Ordering::SeqCst) == turn {
                return side;
            }
            self.leave(side);
        }
    }

    pub fn leave(&self, side: usize) {
        // Pairs with the load in `wait`: nothing read before is read after the writer goes on.
        self.inside[side].fetch_sub(1, Ordering::SeqCst);
    }

    /// Waits until all who are inside have left. For one writer at a time.
    pub fn wait(&self) {
        let side = (self.turn.fetch_add(1, Ordering::SeqCst) & 1) as usize;
        let mut turns = 0;
        while self.inside[side].load(Ordering::SeqCst) != 0 {
            turns += 1;
            if turns < PATIENCE {
                thread::yield_now();
            } else {
                thread::sleep(Duration::from_micros(100));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn the_writer_waits_for_those_inside_and_not_for_later_ones() {
        let readers = Readers::default();
        let gone = AtomicBool::new(false);
        let side = readers.enter();
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                readers.wait();
                gone.load(Ordering::SeqCst)
            });
            thread::sleep(Duration::from_millis(20));
            let later = readers.enter();
            gone.store(true, Ordering::SeqCst);
            readers.leave(side);
            assert!(writer.join().expect("the writer"));
            readers.leave(later);
        });
        readers.wait();
    }

    /// A reader that is inside never sees what the writer takes away.
    #[test]
    fn nothing_is_taken_away_from_under_a_reader() {
        const ROUNDS: u64 = 20_000;
        let readers = Readers::default();
        let places = [AtomicU64::new(1), AtomicU64::new(0)]; // 0: taken away
        let current = AtomicUsize::new(0);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let side = readers.enter();
                        let place = &places[current.load(Ordering::Acquire)];
                        assert_ne!(place.load(Ordering::Relaxed), 0);
                        readers.leave(side);
                    }
                });
            }
            for round in 1..ROUNDS {
                let next = (round & 1) as usize;
                places[next].store(round, Ordering::Relaxed);
                current.store(next, Ordering::Release);
                readers.wait();
                places[1 - next].store(0, Ordering::Relaxed);
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
