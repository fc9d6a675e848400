// SPDX-License-Identifier: Apache-2.0
//! A port that sends: out of which queue, and what it means if a packet cannot be sent.

use std::time::Instant;

use offramp_ring::Burst;

use super::Port;
use crate::error::Error;
use crate::port_queue::PortQueue;

impl Port {
    /// See [`PortQueue::transmit`]. Without a queue: out of the one that the burst came in on, if that can send; else
    /// out of the first that can.
    pub fn transmit(
        &self,
        queue: Option<usize>,
        burst: &mut Burst,
        rows: &[u16],
        deadline: Instant,
    ) -> Result<usize, Error> {
        let own = || self.origin(burst).filter(|&queue| self.queues[queue].facts.sends);
        let queue = queue.or_else(own).or_else(|| self.first_that_sends()).unwrap_or(0);
        self.sending(queue, |queue| queue.transmit(burst, rows, deadline))
    }

    fn first_that_sends(&self) -> Option<usize> {
        self.queues.iter().position(|slot| slot.facts.sends)
    }

    /// Sends out of a queue. If a packet is too long, the interface may have another MTU meanwhile: it is asked.
    fn sending<T>(
        &self,
        queue: usize,
        mut work: impl FnMut(&mut Box<dyn PortQueue>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut result = self.with(queue, &mut work);
        if self.link.is_some() && matches!(result, Err(Error::Unsendable { .. })) {
            let _ = self.check_link(); // if something is wrong with it, the next look says so
            result = self.with(queue, work);
        }
        result.map_err(|error| match error {
            Error::NoWayOut { .. } => Error::NoWayOut {
                queue,
                instead: self.first_that_sends(),
            },
            error => error,
        })
    }

    /// See [`PortQueue::send`].
    pub fn send(&self, queue: usize, frames: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
        self.sending(queue, |queue| queue.send(frames, deadline))
    }

    /// See [`PortQueue::flush`].
    pub fn flush(&self, queue: usize, deadline: Instant) -> Result<u32, Error> {
        self.with(queue, |queue| queue.flush(deadline))
    }
}
