// SPDX-License-Identifier: Apache-2.0
//! Ports in Python's hands: one or several queues, each of which a thread of its own may use.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use offramp_io::{self as io, AfXdp, Binding, Copying, Error, Heartbeat, Link, Null, Pulse, sys};
use offramp_ring::{BURST, Pool};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

use crate::burst::Burst;
use crate::counters::counters;
use crate::errors;
use crate::seconds::Seconds;

/// How long a call sleeps at most before it looks at Python's signals and says that it lives.
const NAP: Duration = Duration::from_millis(100);

type Queue = Box<dyn io::Port>;

/// Queues of one interface, or of none.
#[pyclass(frozen, module = "offramp._native")]
pub struct Port {
    /// What errors are about.
    name: String,
    /// `None` once closed.
    queues: Vec<Mutex<Option<Queue>>>,
    /// What tells the program that the queue's reader lives.
    pulses: Vec<Pulse>,
    /// The queues' frames, to let go of in a forked child.
    pools: Vec<Weak<Pool>>,
    /// What to sleep on, per queue; a closed descriptor among them only wakes the sleeper.
    pollable: Vec<Option<i32>>,
    link: Option<(i32, Mutex<Option<Link>>)>,
    nap: Duration,
    /// The queue to look at first: the one after that which gave packets last.
    turn: AtomicUsize,
    closed: AtomicBool,
    /// Closed because this is a forked child.
    abandoned: AtomicBool,
}

/// Why a look for packets ended.
enum Look {
    Packets(Burst),
    Nothing,
    Closed,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Port {
    fn new(name: &str, queues: Vec<Queue>, pulses: Vec<Pulse>, link: Option<Link>, nap: Duration) -> Self {
        Self {
            name: name.to_owned(),
            pulses,
            pools: queues
                .iter()
                .map(|queue| Arc::downgrade(queue.queue().pool()))
                .collect(),
            pollable: queues.iter().map(|queue| queue.pollable()).collect(),
            queues: queues.into_iter().map(|queue| Mutex::new(Some(queue))).collect(),
            link: link.map(|link| (link.fd(), Mutex::new(Some(link)))),
            nap,
            turn: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        }
    }

    fn check_queue(&self, py: Python<'_>, queue: usize) -> PyResult<()> {
        let count = self.queues.len();
        if queue < count {
            Ok(())
        } else {
            Err(errors::option(
                py,
                &format!("queue {queue}: the port has queues 0 to {}", count - 1),
            ))
        }
    }

    /// Runs `work` on a queue without the GIL.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        queue: usize,
        work: impl Send + FnOnce(&mut Queue) -> Result<T, Error>,
    ) -> PyResult<T> {
        self.check_queue(py, queue)?;
        self.check(py)?;
        match py.detach(|| {
            let result = lock(&self.queues[queue]).as_mut().map(work);
            result.map(|result| result.map_err(|error| self.confirm(error)))
        }) {
            Some(result) => result.map_err(|error| errors::raise(py, &self.name, error)),
            None => Err(self.refusal(py)),
        }
    }

    /// `Closed`, and why.
    fn refusal(&self, py: Python<'_>) -> PyErr {
        errors::closed(py, self.abandoned.load(Ordering::Relaxed))
    }

    /// `error`, or what the interface itself says about it.
    fn confirm(&self, error: Error) -> Error {
        match self
            .link
            .as_ref()
            .and_then(|(_, link)| lock(link).as_mut().and_then(|link| link.blame(&error)))
        {
            Some(state) => state,
            None => error,
        }
    }

    /// Looks at the given queues once, beginning with the one whose turn it is.
    fn look(&self, queues: &[usize], most: usize) -> Result<Look, Error> {
        // All of them, although it may take some turns until each is looked at.
        queues
            .iter()
            .filter_map(|&queue| self.pulses.get(queue))
            .for_each(Pulse::beat);
        let turn = self.turn.load(Ordering::Relaxed);
        for &queue in queues.iter().cycle().skip(turn % queues.len()).take(queues.len()) {
            let Some(burst) = lock(&self.queues[queue]).as_mut().map(|port| port.receive(most)) else {
                return Ok(Look::Closed);
            };
            let burst = burst?;
            if !burst.is_empty() {
                self.turn.store(queue + 1, Ordering::Relaxed);
                return Ok(Look::Packets(Burst::new(burst, queue, sys::clock(sys::REALTIME))));
            }
        }
        Ok(Look::Nothing)
    }

    /// Looks, and if there is nothing, sleeps until there may be something.
    fn look_or_sleep(&self, queues: &[usize], most: usize, until: Option<Instant>) -> Result<Look, Error> {
        if self.closed.load(Ordering::Relaxed) {
            return Ok(Look::Closed);
        }
        let look = self.look(queues, most).map_err(|error| self.confirm(error))?;
        if let Look::Nothing = look {
            let left = until.map_or(self.nap, |until| {
                until.saturating_duration_since(Instant::now()).min(self.nap)
            });
            self.sleep(queues, left)?;
        }
        Ok(look)
    }

    fn sleep(&self, queues: &[usize], time: Duration) -> Result<(), Error> {
        let mut fds: Vec<i32> = queues.iter().filter_map(|&queue| self.pollable[queue]).collect();
        if fds.is_empty() {
            std::thread::sleep(time.min(Duration::from_millis(1)));
            return Ok(());
        }
        fds.extend(self.link.as_ref().map(|(fd, _)| fd));
        let ready = sys::poll_readable(&fds, time)?;
        match &self.link {
            // Also after a nap without news: an interface that was down when we began to look sends none.
            Some((_, link)) if ready.last() == Some(&true) || !ready.contains(&true) => {
                lock(link).as_mut().map_or(Ok(()), Link::check)
            }
            _ => Ok(()),
        }
    }
}

#[pymethods]
impl Port {
    #[staticmethod]
    #[pyo3(signature = (interface, ifindex, queues, *, frames, frame_size, ring, copying, heartbeats=None, stall=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments")]
    fn af_xdp(
        py: Python<'_>,
        interface: &str,
        ifindex: u32,
        queues: Vec<u32>,
        frames: u32,
        frame_size: u32,
        ring: u32,
        copying: &str,
        heartbeats: Option<i32>,
        stall: Option<Seconds>,
    ) -> PyResult<Self> {
        let copying = match copying {
            "auto" => Copying::Auto,
            "copy" => Copying::Copy,
            "zero-copy" => Copying::Zero,
            _ => {
                return Err(errors::option(
                    py,
                    &format!("copying={copying:?}: not one of auto, copy, zero-copy"),
                ));
            }
        };
        // Four beats in the time after which the program gives up on us.
        let nap = stall.map_or(NAP, |stall| NAP.min(stall.duration() / 4));
        let open = || {
            // Watched from before the sockets are bound, so that no change is missed.
            let link = Link::watch(ifindex as i32)?;
            let count = queues.iter().max().map_or(0, |&queue| queue as usize + 1);
            let mut hearts: Vec<Option<Heartbeat>> = match heartbeats {
                // SAFETY: the caller keeps the map open during the call.
                Some(fd) => Heartbeat::map(unsafe { BorrowedFd::borrow_raw(fd) }, count)?
                    .into_iter()
                    .map(Some)
                    .collect(),
                None => std::iter::repeat_with(|| None).take(count).collect(),
            };
            let pulses = queues
                .iter()
                .filter_map(|&queue| hearts[queue as usize].as_ref().map(Heartbeat::pulse))
                .collect();
            let ports: Result<Vec<Queue>, Error> = queues
                .iter()
                .map(|&queue| {
                    let binding = Binding {
                        ifindex,
                        queue,
                        frames,
                        frame_size,
                        ring,
                        copying,
                    };
                    AfXdp::open(&binding, hearts[queue as usize].take()).map(|port| Box::new(port) as Queue)
                })
                .collect();
            Ok(Self::new(interface, ports?, pulses, Some(link), nap))
        };
        py.detach(open).map_err(|error| errors::raise(py, interface, error))
    }

    #[staticmethod]
    #[pyo3(signature = (packets, *, queues, frames, frame_size, ring))]
    fn null(
        py: Python<'_>,
        packets: Vec<Vec<u8>>,
        queues: usize,
        frames: u32,
        frame_size: u32,
        ring: u32,
    ) -> PyResult<Self> {
        let templates: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        let ports: Result<Vec<Queue>, Error> = (0..queues)
            .map(|_| Null::open(&templates, frames, frame_size, ring).map(|port| Box::new(port) as Queue))
            .collect();
        Ok(Self::new(
            "null",
            ports.map_err(|error| errors::raise(py, "null", error))?,
            Vec::new(),
            None,
            NAP,
        ))
    }

    #[getter]
    fn queues(&self) -> usize {
        self.queues.len()
    }

    /// File descriptors: the socket of each queue, then that of the link watch.
    fn fds(&self) -> Vec<i32> {
        self.pollable
            .iter()
            .flatten()
            .copied()
            .chain(self.link.as_ref().map(|(fd, _)| *fd))
            .collect()
    }

    fn zero_copy(&self, py: Python<'_>, queue: usize) -> PyResult<bool> {
        self.with(py, queue, |port| Ok(port.zero_copy()))
    }

    #[pyo3(signature = (queue=None, timeout=None, most=BURST))]
    fn rx(
        &self,
        py: Python<'_>,
        queue: Option<usize>,
        timeout: Option<Seconds>,
        most: usize,
    ) -> PyResult<Option<Burst>> {
        let queues: Vec<usize> = queue.map_or_else(|| (0..self.queues.len()).collect(), |queue| vec![queue]);
        queues.iter().try_for_each(|&queue| self.check_queue(py, queue))?;
        let until = timeout.map(|timeout| timeout.later(py)).transpose()?;
        loop {
            match py
                .detach(|| self.look_or_sleep(&queues, most, until))
                .map_err(|error| errors::raise(py, &self.name, error))?
            {
                Look::Packets(burst) => return Ok(Some(burst)),
                Look::Closed => return Err(self.refusal(py)),
                Look::Nothing => py.check_signals()?,
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
        }
    }

    fn discard(&self, py: Python<'_>, seconds: Seconds) -> PyResult<u64> {
        let queues: Vec<usize> = (0..self.queues.len()).collect();
        let until = seconds.later(py)?;
        let mut packets = 0;
        let mut discard_for_a_while = || {
            let pause = until.min(Instant::now() + NAP);
            while Instant::now() < pause {
                match self.look_or_sleep(&queues, BURST, Some(pause))? {
                    Look::Packets(burst) => packets += burst.rows().len() as u64,
                    Look::Nothing => {}
                    Look::Closed => return Ok(false),
                }
            }
            Ok(Instant::now() < until)
        };
        while py
            .detach(&mut discard_for_a_while)
            .map_err(|error| errors::raise(py, &self.name, error))?
        {
            py.check_signals()?;
        }
        Ok(packets)
    }

    fn tx(&self, py: Python<'_>, queue: usize, burst: &Burst, timeout: Seconds) -> PyResult<usize> {
        let deadline = timeout.later(py)?;
        self.with(py, queue, |port| {
            port.transmit(&mut burst.packets(), burst.rows(), deadline)
        })
    }

    fn send(&self, py: Python<'_>, queue: usize, frames: Vec<Bound<'_, PyAny>>, timeout: Seconds) -> PyResult<usize> {
        let deadline = timeout.later(py)?;
        let bytes = |frame: &Bound<'_, PyAny>| PyBuffer::<u8>::get(frame).and_then(|frame| frame.to_vec(py));
        let frames: PyResult<Vec<Vec<u8>>> = frames
            .iter()
            .enumerate()
            .map(|(row, frame)| bytes(frame).map_err(|_| errors::option(py, &format!("frame {row}: not bytes"))))
            .collect();
        let frames = frames?;
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        self.with(py, queue, |port| port.send(&frames, deadline))
    }

    fn flush(&self, py: Python<'_>, queue: usize, timeout: Seconds) -> PyResult<u32> {
        let deadline = timeout.later(py)?;
        self.with(py, queue, |port| port.flush(deadline))
    }

    fn counters<'py>(&self, py: Python<'py>, queue: usize) -> PyResult<Bound<'py, PyDict>> {
        let counts = self.with(py, queue, |port| Ok(counters(port.queue(), &port.kernel_counters()?)))?;
        counts.into_py_dict(py)
    }

    /// Refuses if it is closed.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(self.refusal(py));
        }
        Ok(())
    }

    /// In a forked child: refuses every further call, without a lock that a thread of the parent may hold.
    fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.closed.store(true, Ordering::Relaxed);
        self.pools
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|pool| pool.abandon());
    }

    fn close(&self, py: Python<'_>) {
        self.closed.store(true, Ordering::Relaxed);
        py.detach(|| {
            self.queues.iter().for_each(|queue| drop(lock(queue).take()));
            self.link.iter().for_each(|(_, link)| drop(lock(link).take()));
        });
    }
}
