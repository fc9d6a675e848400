// SPDX-License-Identifier: Apache-2.0
//! The contract for queues over rings: a [`Queue`], and somebody on the other side of it who may have to be told to
//! look.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offramp_ring::{BURST, Burst, Pool, Queue, Rings};

use crate::counters::Counters;
use crate::error::Error;
use crate::port_queue::{End, Facts, PortQueue};

/// Who is on the other side of a queue's rings.
pub trait OtherSide: Send {
    /// Called on each look for packets. Makes the other side look at the fill ring, if it has to be told.
    fn kick_rx(&mut self, rings: &Rings) -> Result<(), Error>;

    /// Makes the other side look at the tx ring, if it has to be told.
    fn kick_tx(&mut self, rings: &Rings) -> Result<(), Error>;

    /// See [`PortQueue::pollable`].
    fn pollable(&self) -> Option<i32>;

    /// What only the other side can count; the rest are zero.
    fn counters(&self) -> Result<Counters, Error> {
        Ok(Counters::default())
    }

    /// See [`PortQueue::facts`]; the queue knows the largest frame.
    fn facts(&self) -> Facts;

    /// Whether it has put its last packet into the rx ring, as of the last `kick_rx`.
    fn ended(&self) -> Option<End> {
        None
    }
}

/// A queue of a port, over rings.
pub struct Ringed<S> {
    queue: Queue,
    side: S,
}

impl<S: OtherSide> Ringed<S> {
    pub fn new(queue: Queue, side: S) -> Self {
        Self { queue, side }
    }

    /// Repeats `step`, with kicks and reaps in between, until it returns true or the deadline has passed.
    fn until(&mut self, deadline: Instant, mut step: impl FnMut(&mut Queue) -> bool) -> Result<(), Error> {
        let mut pause = Duration::from_micros(1);
        loop {
            let before = self.queue.places();
            let done = step(&mut self.queue);
            self.side.kick_tx(self.queue.rings())?;
            self.queue.reap();
            if done || Instant::now() >= deadline {
                return Ok(());
            }
            if self.queue.places() == before {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(1));
            }
        }
    }
}

impl<S: OtherSide> PortQueue for Ringed<S> {
    fn receive(&mut self, most: usize) -> Result<Burst, Error> {
        self.queue.refill();
        self.side.kick_rx(self.queue.rings())?;
        if self.queue.is_sending() {
            self.side.kick_tx(self.queue.rings())?; // kicks that it put off before
            self.queue.reap();
        }
        Ok(self.queue.receive(most.min(BURST))?)
    }

    fn transmit(&mut self, burst: &mut Burst, rows: &[u16], deadline: Instant) -> Result<usize, Error> {
        // Moved packets are gone, so that none can be sent twice.
        let moving = Arc::ptr_eq(burst.pool(), self.queue.pool());
        let mut named = vec![false; burst.len()];
        let mut unsendable = |row: usize| {
            row >= burst.len()
                || burst.bytes(row).is_none_or(|bytes| !self.queue.sendable(bytes.len()))
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

    fn send(&mut self, frames: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
        if let Some(row) = frames.iter().position(|frame| !self.queue.sendable(frame.len())) {
            return Err(Error::Unsendable { row });
        }
        let mut taken = 0;
        self.until(deadline, |queue| {
            taken += frames[taken..].iter().take_while(|frame| queue.copy(frame)).count();
            taken == frames.len()
        })?;
        Ok(taken)
    }

    /// A driver's reset can lose completions; hence the deadline.
    fn flush(&mut self, deadline: Instant) -> Result<u32, Error> {
        self.until(deadline, |queue| queue.reap() == 0)?;
        Ok(self.queue.places().sending)
    }

    fn pollable(&self) -> Option<i32> {
        self.side.pollable()
    }

    fn counters(&self) -> Result<Counters, Error> {
        let (places, sent) = (self.queue.places(), self.queue.sent());
        Ok(Counters {
            received: self.queue.received(),
            waiting: self.queue.rings().rx.memory().len().into(),
            sent: sent.0,
            completed: sent.1,
            strays: self.queue.strays(),
            free: places.free.into(),
            filling: places.filling.into(),
            sending: places.sending.into(),
            application: places.application.into(),
            ..self.side.counters()?
        })
    }

    fn facts(&self) -> Facts {
        let largest = self.queue.largest();
        Facts {
            largest,
            ..self.side.facts()
        }
    }

    fn ended(&self) -> Option<End> {
        self.side.ended().filter(|_| self.queue.rings().rx.memory().is_empty())
    }

    fn pool(&self) -> &Arc<Pool> {
        self.queue.pool()
    }
}
