// SPDX-License-Identifier: Apache-2.0
//! Ports around ports. A wrapper says what it does in the calls that move packets; all else goes straight through.

use std::sync::Arc;
use std::time::Instant;

use offramp_ring::{Burst, Pool};

use crate::counters::Counters;
use crate::endpoint::Queues;
use crate::error::Error;
use crate::port::{End, Facts, Port};

/// What a wrapper does in a call. Each method gets the port inside, and the arguments of the method of [`Port`].
pub trait Around: Send {
    /// As in the URI, and among the modes.
    const NAME: &'static str;

    fn receive(&mut self, port: &mut dyn Port, most: usize) -> Result<Burst, Error> {
        port.receive(most)
    }

    fn transmit(
        &mut self,
        port: &mut dyn Port,
        burst: &mut Burst,
        rows: &[u16],
        deadline: Instant,
    ) -> Result<usize, Error> {
        port.transmit(burst, rows, deadline)
    }

    fn send(&mut self, port: &mut dyn Port, frames: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
        port.send(frames, deadline)
    }

    fn flush(&mut self, port: &mut dyn Port, deadline: Instant) -> Result<u32, Error> {
        port.flush(deadline)
    }
}

/// A port with a wrapper around it: a port.
pub struct Wrapped<A> {
    around: A,
    port: Box<dyn Port>,
}

impl<A: Around> Wrapped<A> {
    pub fn new(around: A, port: Box<dyn Port>) -> Self {
        Self { around, port }
    }
}

/// Puts a wrapper around each queue; `make` gets the queue's number.
pub fn wrapped<A: Around + 'static>(queues: Queues, make: impl Fn(usize) -> A) -> Queues {
    let numbered = queues.into_iter().enumerate();
    numbered
        .map(|(number, port)| Box::new(Wrapped::new(make(number), port)) as Box<dyn Port>)
        .collect()
}

impl<A: Around> Port for Wrapped<A> {
    fn receive(&mut self, most: usize) -> Result<Burst, Error> {
        self.around.receive(&mut *self.port, most)
    }

    fn transmit(&mut self, burst: &mut Burst, rows: &[u16], deadline: Instant) -> Result<usize, Error> {
        self.around.transmit(&mut *self.port, burst, rows, deadline)
    }

    fn send(&mut self, frames: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
        self.around.send(&mut *self.port, frames, deadline)
    }

    fn flush(&mut self, deadline: Instant) -> Result<u32, Error> {
        self.around.flush(&mut *self.port, deadline)
    }

    fn pollable(&self) -> Option<i32> {
        self.port.pollable()
    }

    fn counters(&self) -> Result<Counters, Error> {
        self.port.counters()
    }

    fn facts(&self) -> Facts {
        let mut facts = self.port.facts();
        facts.modes.insert(0, A::NAME);
        facts
    }

    fn ended(&self) -> Option<End> {
        self.port.ended()
    }

    fn pool(&self) -> &Arc<Pool> {
        self.port.pool()
    }
}
