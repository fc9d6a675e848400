// SPDX-License-Identifier: Apache-2.0
//! Ports around ports, queue by queue. A wrapper says what it does in the calls that move packets; all else goes
//! straight through.

use std::sync::Arc;
use std::time::Instant;

use offramp_ring::{Burst, Pool};

use crate::counters::Counters;
use crate::error::Error;
use crate::port::Queues;
use crate::port_queue::{End, Facts, PortQueue};

/// What a wrapper does in a call. Each method gets the queue inside, and the arguments of the method of [`PortQueue`].
pub trait Around: Send {
    /// As in the URI, and among the modes.
    const NAME: &'static str;

    fn receive(&mut self, queue: &mut dyn PortQueue, most: usize) -> Result<Burst, Error> {
        queue.receive(most)
    }

    fn transmit(
        &mut self,
        queue: &mut dyn PortQueue,
        burst: &mut Burst,
        rows: &[u16],
        deadline: Instant,
    ) -> Result<usize, Error> {
        queue.transmit(burst, rows, deadline)
    }

    fn send(&mut self, queue: &mut dyn PortQueue, frames: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
        queue.send(frames, deadline)
    }

    fn flush(&mut self, queue: &mut dyn PortQueue, deadline: Instant) -> Result<u32, Error> {
        queue.flush(deadline)
    }
}

/// A queue with a wrapper around it: a queue.
pub struct Wrapped<A> {
    around: A,
    queue: Box<dyn PortQueue>,
}

impl<A: Around> Wrapped<A> {
    pub fn new(around: A, queue: Box<dyn PortQueue>) -> Self {
        Self { around, queue }
    }
}

/// Puts a wrapper around each queue; `make` gets the queue's number.
pub fn wrapped<A: Around + 'static>(queues: Queues, make: impl Fn(usize) -> A) -> Queues {
    let numbered = queues.into_iter().enumerate();
    numbered
        .map(|(number, queue)| Box::new(Wrapped::new(make(number), queue)) as Box<dyn PortQueue>)
        .collect()
}

impl<A: Around> PortQueue for Wrapped<A> {
    fn receive(&mut self, most: usize) -> Result<Burst, Error> {
        self.around.receive(&mut *self.queue, most)
    }

    fn transmit(&mut self, burst: &mut Burst, rows: &[u16], deadline: Instant) -> Result<usize, Error> {
        self.around.transmit(&mut *self.queue, burst, rows, deadline)
    }

    fn send(&mut self, frames: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
        self.around.send(&mut *self.queue, frames, deadline)
    }

    fn flush(&mut self, deadline: Instant) -> Result<u32, Error> {
        self.around.flush(&mut *self.queue, deadline)
    }

    fn pollable(&self) -> Option<i32> {
        self.queue.pollable()
    }

    fn counters(&self) -> Result<Counters, Error> {
        self.queue.counters()
    }

    fn facts(&self) -> Facts {
        let mut facts = self.queue.facts();
        facts.modes.insert(0, A::NAME);
        facts
    }

    fn ended(&self) -> Option<End> {
        self.queue.ended()
    }

    fn pool(&self) -> &Arc<Pool> {
        self.queue.pool()
    }
}
