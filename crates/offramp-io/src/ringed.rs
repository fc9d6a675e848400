// SPDX-License-Identifier: Apache-2.0
//! The contract for queues over rings: a [`Queue`], and somebody on the other side of it who may have to be told to
//! look.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offramp_ring::{BURST, Burst, Pool, Queue, Rings};

use crate::counters::Counters;
use crate::error::Error;
use crate::lengths::{Lengths, Unsendable};
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

    /// See [`PortQueue::facts`]; the queue knows the room of a frame.
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
    lengths: Lengths,
    sends: bool,
    /// Packets that were to be sent, and found no room in time.
    refused: u64,
}

impl<S: OtherSide> Ringed<S> {
    pub fn new(queue: Queue, side: S) -> Self {
        let Facts { mut lengths, sends, .. } = side.facts();
        lengths.room = queue.largest();
        Self {
            queue,
            side,
            lengths,
            sends,
            refused: 0,
        }
    }

    /// Sends what `step` puts into the ring, until that is `count` packets or the deadline has passed. `step` gets the
    /// number of those that are in it.
    fn put(
        &mut self,
        count: usize,
        deadline: Instant,
        mut step: impl FnMut(&mut Queue, usize) -> usize,
    ) -> Result<usize, Error> {
        let mut taken = 0;
        let result = self.until(deadline, |queue| {
            taken += step(queue, taken);
            taken == count
        });
        self.refused += (count - taken) as u64;
        result.map(|()| taken)
    }

    fn check_sends(&self) -> Result<(), Error> {
        let (queue, instead) = (0, None); // the port knows its number
        if self.sends {
            Ok(())
        } else {
            Err(Error::NoWayOut { queue, instead })
        }
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
        for row in rows.iter().map(|&row| usize::from(row)) {
            let there = if row < burst.len() { burst.bytes(row) } else { None };
            let again = moving && there.is_some() && std::mem::replace(&mut named[row], true);
            let right = match there {
                Some(bytes) if !again => self.lengths.check(bytes.len()),
                _ => Err(Unsendable::SentAlready),
            };
            right.map_err(|why| Error::Unsendable { row, why })?;
        }
        self.check_sends()?;
        self.put(rows.len(), deadline, |queue, taken| {
            queue.transmit(burst, &rows[taken..])
        })
    }

    fn send(&mut self, frames: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
        for (row, frame) in frames.iter().enumerate() {
            let right = self.lengths.check(frame.len());
            right.map_err(|why| Error::Unsendable { row, why })?;
        }
        self.check_sends()?;
        self.put(frames.len(), deadline, |queue, taken| {
            frames[taken..].iter().take_while(|frame| queue.copy(frame)).count()
        })
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
            tx_ring_full: self.refused,
            strays: self.queue.strays(),
            free: places.free.into(),
            filling: places.filling.into(),
            sending: places.sending.into(),
            application: places.application.into(),
            ..self.side.counters()?
        })
    }

    fn facts(&self) -> Facts {
        let lengths = self.lengths.clone();
        Facts {
            lengths,
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
