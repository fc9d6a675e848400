// SPDX-License-Identifier: Apache-2.0
//! What every port can do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offramp_ring::{BURST, Burst, Queue};

use crate::error::Error;

/// What the kernel counted on a port's behalf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounters {
    /// No frame in the fill ring, or a packet larger than a frame.
    pub rx_dropped: u64,
    /// The rx ring was full.
    pub rx_ring_full: u64,
    /// How often the driver found the fill ring empty; each is also in `rx_dropped` in copy mode.
    pub fill_ring_empty: u64,
    /// Descriptors of ours that the kernel refused, on the fill and on the tx ring.
    pub rx_invalid: u64,
    pub tx_invalid: u64,
}

/// One queue of frames in and frames out.
///
/// A port supplies its queue and how to wake the other side; receiving and sending, below, are the same for all.
pub trait Port: Send {
    fn queue(&self) -> &Queue;
    fn queue_mut(&mut self) -> &mut Queue;

    /// Lets the other side see the tx ring, if it needs to be told.
    fn kick_tx(&mut self) -> Result<(), Error>;

    /// Called on each look for packets: lets the other side see the fill ring, if it needs to be told.
    fn kick_rx(&mut self) -> Result<(), Error>;

    /// A file descriptor that polls readable when packets wait; `None` for a port that never sleeps.
    fn pollable(&self) -> Option<i32>;

    fn kernel_counters(&self) -> Result<KernelCounters, Error> {
        Ok(KernelCounters::default())
    }

    /// Whether packets reach the umem without a copy by the CPU, as the kernel reports it.
    fn zero_copy(&self) -> bool {
        false
    }
}

/// What is the same for all ports.
impl dyn Port + '_ {
    /// Up to `most` packets that are there now.
    pub fn receive(&mut self, most: usize) -> Result<Burst, Error> {
        self.queue_mut().refill();
        self.kick_rx()?;
        if self.queue().is_sending() {
            self.kick_tx()?; // what it put off before
            self.queue_mut().reap();
        }
        Ok(self.queue_mut().receive(most.min(BURST))?)
    }

    /// Sends the packets at `rows`, waiting for room in the ring until `deadline`. Returns how many were accepted.
    pub fn transmit(&mut self, burst: &mut Burst, rows: &[u16], deadline: Instant) -> Result<usize, Error> {
        let sendable = 1..=self.queue().pool().frame_size() as usize; // the kernel never completes an empty one
        // Moved packets are gone: none can be sent twice.
        let moving = Arc::ptr_eq(burst.pool(), self.queue().pool());
        let mut named = vec![false; burst.len()];
        let mut unsendable = |row: usize| {
            row >= burst.len()
                || burst.bytes(row).is_none_or(|bytes| !sendable.contains(&bytes.len()))
                || (moving && std::mem::replace(&mut named[row], true))
        };
        if let Some(row) = rows.iter().map(|&row| usize::from(row)).find(|&row| unsendable(row)) {
            return Err(Error::Unsendable { row });
        }
        let mut taken = 0;
        self.until(deadline, |queue| {
            taken += queue.transmit(burst, &rows[taken..]);
            taken == rows.len()
        })?;
        Ok(taken)
    }

    /// Copies `frames` and sends them, waiting for room in the ring until `deadline`. Returns how many were accepted.
    pub fn send(&mut self, frames: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
        let sendable = 1..=self.queue().pool().frame_size() as usize; // the kernel never completes an empty one
        if let Some(row) = frames.iter().position(|frame| !sendable.contains(&frame.len())) {
            return Err(Error::Unsendable { row });
        }
        let mut taken = 0;
        self.until(deadline, |queue| {
            taken += frames[taken..].iter().take_while(|frame| queue.copy(frame)).count();
            taken == frames.len()
        })?;
        Ok(taken)
    }

    /// Waits until the kernel is done with everything that was sent, or until `deadline`: completions can be lost when a driver
    /// resets. Returns how many frames it still has.
    pub fn flush(&mut self, deadline: Instant) -> Result<u32, Error> {
        self.until(deadline, |queue| queue.reap() == 0)?;
        Ok(self.queue().places().sending)
    }

    /// Repeats `step`, kicking and reaping in between, until it returns true or the deadline has passed.
    fn until(&mut self, deadline: Instant, mut step: impl FnMut(&mut Queue) -> bool) -> Result<(), Error> {
        let mut pause = Duration::from_micros(1);
        loop {
            let before = self.queue().places();
            let done = step(self.queue_mut());
            self.kick_tx()?;
            self.queue_mut().reap();
            if done || Instant::now() >= deadline {
                return Ok(());
            }
            if self.queue().places() == before {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(1));
            }
        }
    }
}
