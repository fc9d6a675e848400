// SPDX-License-Identifier: Apache-2.0
//! A port: its queues, each of which a thread of its own may use. Whose turn it is, sleeping, closing, and what happens
//! to the link.
//!
//! After a look that finds nothing comes a nap, on the descriptors of the queues and of the link watch. A nap is short
//! enough for the heartbeat to go on. After each nap the caller is asked whether to stop; Python checks its signals
//! then.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use offramp_ring::{BURST, Burst, Pool};

use crate::counters::Counters;
use crate::error::Error;
use crate::events::{Event, Events};
use crate::heartbeat::Pulse;
use crate::link::Link;
use crate::port_queue::{End, Facts, PortQueue};
use crate::sys;

/// The longest that a call sleeps before it asks its caller whether to go on, and beats its heart.
pub const NAP: Duration = Duration::from_millis(100);

/// How long it sleeps if its queues have nothing to sleep on.
const DOZE: Duration = Duration::from_millis(1);

/// The queues of one port.
pub type Queues = Vec<Box<dyn PortQueue>>;

/// What a port is made of.
pub struct Parts {
    /// What errors are about.
    pub name: String,
    /// At least one.
    pub queues: Queues,
    /// What tells a program that the queue's reader lives: one for each queue, or none.
    pub pulses: Vec<Pulse>,
    pub link: Option<Link>,
    pub events: Arc<Events>,
    pub nap: Duration,
}

impl Parts {
    pub fn new(name: impl Into<String>, queues: Queues) -> Self {
        Self {
            name: name.into(),
            queues,
            pulses: Vec::new(),
            link: None,
            events: Arc::default(),
            nap: NAP,
        }
    }
}

/// The result of looking for packets.
pub enum Look {
    Packets(Burst),
    /// The time is over.
    Nothing,
    /// Nothing will come any more.
    Ended,
    /// The caller wants to stop.
    Stopped,
}

/// A queue, and what outlives its closing.
struct Slot {
    /// `None` once closed.
    queue: Mutex<Option<Box<dyn PortQueue>>>,
    /// Its counters at the moment when it was closed.
    last: OnceLock<Result<Counters, Error>>,
    facts: Facts,
    /// Its frames, which a forked child lets go of.
    pool: Weak<Pool>,
    /// What to sleep on. If it is closed, that only wakes the sleeper.
    pollable: Option<i32>,
    /// How it ended, once a look has noticed.
    ended: OnceLock<End>,
}

/// Queues of one interface, or of none.
pub struct Port {
    name: String,
    queues: Vec<Slot>,
    pulses: Vec<Pulse>,
    link: Option<(i32, Mutex<Option<Link>>)>,
    events: Arc<Events>,
    nap: Duration,
    /// The queue to look at first: the one after the queue that gave packets last.
    turn: AtomicUsize,
    closed: AtomicBool,
    /// Whether it is closed because this is a forked child.
    abandoned: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Port {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let slot = |queue: Box<dyn PortQueue>| Slot {
            facts: queue.facts(),
            pool: Arc::downgrade(queue.pool()),
            pollable: queue.pollable(),
            queue: Mutex::new(Some(queue)),
            last: OnceLock::new(),
            ended: OnceLock::new(),
        };
        Self {
            name: parts.name,
            queues: parts.queues.into_iter().map(slot).collect(),
            pulses: parts.pulses,
            link: parts.link.map(|link| (link.fd(), Mutex::new(Some(link)))),
            events: parts.events,
            nap: parts.nap,
            turn: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of queues.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.queues.len()
    }

    /// The queue of that number, if there is one.
    pub fn queue(&self, number: i64) -> Result<usize, Error> {
        let queues = self.queues.len();
        let queue = usize::try_from(number).ok().filter(|&queue| queue < queues);
        queue.ok_or(Error::NoQueue { queue: number, queues })
    }

    /// The descriptors to sleep on, by queue.
    #[must_use]
    pub fn pollables(&self) -> Vec<Option<i32>> {
        self.queues.iter().map(|slot| slot.pollable).collect()
    }

    #[must_use]
    pub fn facts(&self, queue: usize) -> &Facts {
        &self.queues[queue].facts
    }

    /// How the queue's stream ended, once its reader was told.
    #[must_use]
    pub fn ended(&self, queue: usize) -> Option<End> {
        self.queues[queue].ended.get().copied()
    }

    /// `Closed`, if it is.
    pub fn check(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(self.refusal());
        }
        Ok(())
    }

    fn refusal(&self) -> Error {
        Error::Closed {
            forked: self.abandoned.load(Ordering::Relaxed),
        }
    }

    /// The next packets of one queue, or of any. Waits for some until `until`, or for ever; after each nap it asks
    /// `stop`.
    pub fn receive(
        &self,
        queue: Option<usize>,
        most: usize,
        until: Option<Instant>,
        mut stop: impl FnMut() -> bool,
    ) -> Result<Look, Error> {
        let queues = queue.map_or(0..self.queues.len(), |queue| queue..queue + 1);
        loop {
            match self.look_or_sleep(queues.clone(), most, until)? {
                Look::Nothing => {}
                look => return Ok(look),
            }
            if stop() {
                return Ok(Look::Stopped);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Look::Nothing);
            }
        }
    }

    /// Receives and drops the packets of all queues until `until`, or until they end or somebody closes the port.
    /// Returns how many there were.
    pub fn discard(&self, until: Instant, mut stop: impl FnMut() -> bool) -> Result<u64, Error> {
        let (mut packets, mut ask) = (0, Instant::now() + self.nap);
        loop {
            let now = Instant::now();
            if now >= ask.min(until) {
                if stop() || now >= until {
                    return Ok(packets);
                }
                ask = now + self.nap;
            }
            match self.look_or_sleep(0..self.queues.len(), BURST, Some(until.min(ask))) {
                Ok(Look::Packets(burst)) => packets += burst.len() as u64,
                Ok(Look::Nothing) => {}
                Ok(Look::Ended | Look::Stopped) | Err(Error::Closed { .. }) => return Ok(packets),
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks; if there is nothing, sleeps until there may be something.
    fn look_or_sleep(&self, queues: Range<usize>, most: usize, until: Option<Instant>) -> Result<Look, Error> {
        self.check()?;
        let look = self.look(queues.clone(), most).map_err(|error| self.confirm(error))?;
        if let Look::Nothing = look {
            let left = until.map_or(self.nap, |until| {
                until.saturating_duration_since(Instant::now()).min(self.nap)
            });
            self.sleep(queues, left)?;
        }
        Ok(look)
    }

    /// Looks at the given queues once, beginning with the one whose turn it is.
    fn look(&self, queues: Range<usize>, most: usize) -> Result<Look, Error> {
        // All pulses, although it may take some turns until each queue is looked at.
        self.pulses
            .iter()
            .take(queues.end)
            .skip(queues.start)
            .for_each(Pulse::beat);
        let (turn, count) = (self.turn.load(Ordering::Relaxed), queues.len());
        let mut ended = 0;
        for number in queues.cycle().skip(turn % count).take(count) {
            let slot = &self.queues[number];
            let mut queue = lock(&slot.queue);
            let queue = queue.as_mut().ok_or_else(|| self.refusal())?;
            let mut burst = queue.receive(most)?;
            if !burst.is_empty() {
                self.turn.store(number + 1, Ordering::Relaxed);
                burst.queue = number;
                burst.time = sys::clock(sys::REALTIME);
                return Ok(Look::Packets(burst));
            }
            if let Some(end) = queue.ended() {
                slot.ended.get_or_init(|| end);
                ended += 1;
            }
        }
        Ok(if ended == count { Look::Ended } else { Look::Nothing })
    }

    fn sleep(&self, queues: Range<usize>, time: Duration) -> Result<(), Error> {
        let mut fds: Vec<i32> = self.queues[queues].iter().filter_map(|queue| queue.pollable).collect();
        if fds.is_empty() {
            std::thread::sleep(time.min(DOZE));
            return Ok(());
        }
        fds.extend(self.link.as_ref().map(|(fd, _)| fd));
        let ready = sys::poll_readable(&fds, time)?;
        match &self.link {
            // Also after a nap without news: an interface that was down before we looked sends none.
            Some(_) if ready.last() == Some(&true) || !ready.contains(&true) => self.check_link(),
            _ => Ok(()),
        }
    }

    /// See [`Link::check`]. Nothing is wrong with no interface.
    pub fn check_link(&self) -> Result<(), Error> {
        match &self.link {
            Some((_, link)) => lock(link).as_mut().map_or(Ok(()), Link::check),
            None => Ok(()),
        }
    }

    /// The `error`, or what the interface itself says about it.
    fn confirm(&self, error: Error) -> Error {
        let blame = |link: &Mutex<Option<Link>>| lock(link).as_mut()?.blame(&error);
        self.link.as_ref().and_then(|(_, link)| blame(link)).unwrap_or(error)
    }

    fn with<T>(
        &self,
        queue: usize,
        work: impl FnOnce(&mut Box<dyn PortQueue>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check()?;
        let result = lock(&self.queues[queue].queue).as_mut().map(work);
        result
            .unwrap_or_else(|| Err(self.refusal()))
            .map_err(|error| self.confirm(error))
    }

    /// Whether the packets came in on this port, and on which queue.
    #[must_use]
    pub fn origin(&self, burst: &Burst) -> Option<usize> {
        let own = |slot: &Slot| slot.pool.as_ptr() == Arc::as_ptr(burst.pool());
        self.queues.iter().position(own)
    }

    /// See [`PortQueue::counters`]. After closing, as they were then.
    pub fn counters(&self, queue: usize) -> Result<Counters, Error> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(self.refusal());
        }
        let slot = &self.queues[queue];
        let counted = lock(&slot.queue).as_ref().map(|queue| queue.counters());
        let counted = counted.or_else(|| slot.last.get().cloned());
        counted
            .unwrap_or_else(|| Err(self.refusal()))
            .map_err(|error| self.confirm(error))
    }

    /// The events since the last call.
    #[must_use]
    pub fn take_events(&self) -> Vec<Event> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Vec::new(); // a thread of the parent may have held the lock
        }
        let _ = self.check_link(); // if something is wrong with it, the next look says so
        self.events.take()
    }

    /// How many events were pushed out by newer ones before anybody took them.
    #[must_use]
    pub fn events_dropped(&self) -> u64 {
        self.events.dropped()
    }

    /// Refuses every further call except the one for the counters, and closes the queues. When it returns, none of them
    /// is in use any more. Any thread may call it.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        for slot in &self.queues {
            if let Some(queue) = lock(&slot.queue).take() {
                slot.last.get_or_init(|| queue.counters());
            }
        }
        self.link.iter().for_each(|(_, link)| drop(lock(link).take()));
    }

    /// For a forked child: refuses every further call, and lets go of what belongs to the parent, without a lock that a
    /// thread of the parent may hold. From then on the numbers of the descriptors lead nowhere.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        if self.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        let sockets = self.queues.iter().filter_map(|queue| queue.pollable);
        sys::lead_nowhere(sockets.chain(self.link.as_ref().map(|(fd, _)| *fd)));
        let pools = self.queues.iter().filter_map(|queue| queue.pool.upgrade());
        pools.for_each(|pool| pool.abandon());
    }
}

mod sending;
#[cfg(test)]
mod tests;
