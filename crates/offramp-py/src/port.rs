// SPDX-License-Identifier: Apache-2.0
//! Ports in Python's hands: types and errors converted, the GIL given up. What a port does, `offramp_io::Port` does.

use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::time::Duration;

use offramp_io::ports::af_xdp::{Binding, COPYING, assemble};
use offramp_io::ports::kind::{Kind, Wrapper};
use offramp_io::ports::memory::Memory;
use offramp_io::ports::options::Listed;
use offramp_io::ports::{KINDS, WRAPPERS};
use offramp_io::{self as io, Error, Look, Seldom};
use offramp_ring::BURST;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyTuple};

use crate::burst::Burst;
use crate::errors;
use crate::events::as_dicts;
use crate::options::{options_of, unicode};
use crate::seconds::Seconds;

/// No frame is longer. A buffer may say that it has any length, and have no memory for it.
const MOST_BYTES: usize = 1 << 16;

/// Queues of one interface, or of none.
#[pyclass(frozen, module = "offramp._native")]
pub struct Port {
    port: io::Port,
    guard: OnceLock<Guard>,
}

/// Raises if nothing can arrive any more. It is asked by whoever has waited in vain, and not often.
struct Guard {
    ask: Py<PyAny>,
    seldom: Seldom,
}

impl Guard {
    const EVERY: Duration = Duration::from_millis(100);

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.seldom.is_due() {
            self.ask.call0(py)?;
        }
        Ok(())
    }
}

impl Port {
    fn new(port: io::Port) -> Self {
        Self {
            port,
            guard: OnceLock::new(),
        }
    }

    fn ask_guard(&self, py: Python<'_>) -> PyResult<()> {
        self.guard.get().map_or(Ok(()), |guard| guard.check(py))
    }

    fn fail(&self, py: Python<'_>, error: Error) -> PyErr {
        errors::raise(py, self.port.name(), error)
    }

    /// Runs `work` without the GIL, on the queue of that number.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        queue: i64,
        work: impl Send + FnOnce(&io::Port, usize) -> Result<T, Error>,
    ) -> PyResult<T> {
        let run = || self.port.queue(queue).and_then(|queue| work(&self.port, queue));
        py.detach(run).map_err(|error| self.fail(py, error))
    }

    /// Runs `work`, which waits, without the GIL. `work` gets a function to ask whether to stop: it checks Python's
    /// signals, and asks the guard. The first one that raises ends the wait.
    fn wait<T: Send>(
        &self,
        py: Python<'_>,
        work: impl Send + FnOnce(&mut dyn FnMut() -> bool) -> Result<T, Error>,
    ) -> PyResult<T> {
        let mut raised = None;
        let result = py.detach(|| {
            work(&mut || {
                raised = Python::attach(|py| py.check_signals().and_then(|()| self.ask_guard(py)).err());
                raised.is_some()
            })
        });
        match raised {
            Some(error) => Err(error),
            None => result.map_err(|error| self.fail(py, error)),
        }
    }
}

#[pymethods]
impl Port {
    /// Opens the port that a URI names.
    #[staticmethod]
    #[pyo3(signature = (uri, **options))]
    fn open(py: Python<'_>, uri: &Bound<'_, PyAny>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let uri = &unicode("uri", uri)?;
        let options = options.map_or_else(|| Ok(Vec::new()), options_of)?;
        let port = py.detach(|| io::ports::open(uri, options));
        port.map(Self::new).map_err(|error| errors::raise(py, uri, error))
    }

    #[staticmethod]
    #[pyo3(signature = (
        interface, ifindex, queues, *, frames, frame_size, ring, copying, heartbeats=None, stall=None, ahead=0,
        sending=None
    ))]
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
        ahead: i64,
        sending: Option<Vec<u32>>,
    ) -> PyResult<Self> {
        let copying = COPYING.value.meaning(COPYING.name, copying);
        let copying = copying.map_err(|error| errors::raise(py, interface, error))?;
        let binding = Binding {
            interface,
            ifindex,
            queues: &queues,
            sending: sending.as_deref(),
            memory: Memory {
                frames,
                frame_size,
                ring,
            },
            copying,
        };
        let stall = stall.map(|stall| stall.duration());
        let heartbeats = heartbeats.map(|fd| io::Heartbeats {
            // SAFETY: the caller keeps the map open during the call.
            map: unsafe { BorrowedFd::borrow_raw(fd) },
            stall,
            ahead,
        });
        let port = py.detach(|| assemble(&binding, heartbeats).map(io::Port::new));
        port.map(Self::new).map_err(|error| errors::raise(py, interface, error))
    }

    #[getter]
    fn queues(&self) -> usize {
        self.port.queues()
    }

    /// The descriptors to sleep on, by queue; for an AF_XDP port, its sockets.
    fn pollables(&self) -> Vec<Option<i32>> {
        self.port.pollables()
    }

    fn facts<'py>(&self, py: Python<'py>, queue: i64) -> PyResult<Bound<'py, PyDict>> {
        let queue = self.port.queue(queue).map_err(|error| self.fail(py, error))?;
        let facts = self.port.facts(queue);
        let dict = PyDict::new(py);
        dict.set_item("kind", facts.kind)?;
        dict.set_item("target", &facts.target)?;
        dict.set_item("modes", PyTuple::new(py, &facts.modes)?)?;
        dict.set_item("timestamps", facts.timestamps.name())?;
        dict.set_item("largest_frame", facts.lengths.most())?;
        dict.set_item("sends", facts.sends)?;
        Ok(dict)
    }

    #[pyo3(signature = (queue=None, timeout=None, most=BURST))]
    fn rx(&self, py: Python<'_>, queue: Option<i64>, timeout: Option<Seconds>, most: usize) -> PyResult<Option<Burst>> {
        let queue = queue.map(|queue| self.port.queue(queue)).transpose();
        let queue = queue.map_err(|error| self.fail(py, error))?;
        let until = timeout.map(|timeout| timeout.later(py)).transpose()?;
        let look = self.wait(py, |stop| self.port.receive(queue, most, until, stop))?;
        Ok(match look {
            Look::Packets(burst) => {
                let timestamps = self.port.facts(burst.queue).timestamps;
                Some(Burst::new(burst, timestamps))
            }
            Look::Nothing | Look::Ended | Look::Stopped => None,
        })
    }

    fn discard(&self, py: Python<'_>, seconds: Seconds) -> PyResult<u64> {
        let until = seconds.later(py)?;
        self.wait(py, |stop| self.port.discard(until, stop))
    }

    /// Sends out of that queue; without one, out of the queue that the burst came in on, or the first that can send.
    fn tx(&self, py: Python<'_>, queue: Option<i64>, burst: &Burst, timeout: Seconds) -> PyResult<usize> {
        let deadline = timeout.later(py)?;
        let send = || {
            let queue = queue.map(|queue| self.port.queue(queue)).transpose()?;
            self.port.transmit(queue, &mut burst.packets(), burst.rows(), deadline)
        };
        py.detach(send).map_err(|error| self.fail(py, error))
    }

    fn send(&self, py: Python<'_>, queue: i64, frames: &Bound<'_, PyTuple>, timeout: Seconds) -> PyResult<usize> {
        let deadline = timeout.later(py)?;
        let bytes = |frame: &Bound<'_, PyAny>| {
            let frame = PyBuffer::<u8>::get(frame)?;
            if frame.item_count() > MOST_BYTES {
                return Err(errors::option(py, "too long for a frame"));
            }
            frame.to_vec(py)
        };
        let frames: PyResult<Vec<Vec<u8>>> = frames
            .iter()
            .enumerate()
            .map(|(row, frame)| bytes(&frame).map_err(|_| errors::option(py, &format!("frame {row}: not bytes"))))
            .collect();
        let frames = frames?;
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        self.with(py, queue, |port, queue| port.send(queue, &frames, deadline))
    }

    fn flush(&self, py: Python<'_>, queue: i64, timeout: Seconds) -> PyResult<u32> {
        let deadline = timeout.later(py)?;
        self.with(py, queue, |port, queue| port.flush(queue, deadline))
    }

    fn counters<'py>(&self, py: Python<'py>, queue: i64) -> PyResult<Bound<'py, PyDict>> {
        let counters = self.with(py, queue, io::Port::counters)?;
        counters.named().into_py_dict(py)
    }

    /// How the queue's stream ended, once its reader was told.
    fn ended(&self, py: Python<'_>, queue: i64) -> PyResult<Option<String>> {
        let queue = self.port.queue(queue).map_err(|error| self.fail(py, error))?;
        Ok(self.port.ended(queue).map(|end| end.to_string()))
    }

    /// The events since the last call.
    fn events<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        as_dicts(py, py.detach(|| self.port.take_events()))
    }

    /// How many events were pushed out by newer ones before they were told.
    #[getter]
    fn events_dropped(&self) -> u64 {
        self.port.events_dropped()
    }

    /// Has `ask` asked by readers that wait in vain, at most ten times a second: it raises if nothing can arrive any
    /// more.
    fn guard(&self, ask: Py<PyAny>) {
        let seldom = Seldom::new(Guard::EVERY);
        let _ = self.guard.set(Guard { ask, seldom });
    }

    /// Raises if its interface is down or gone.
    fn check_link(&self, py: Python<'_>) -> PyResult<()> {
        let check = py.detach(|| self.port.check_link());
        check.map_err(|error| self.fail(py, error))
    }

    /// Raises if it is closed.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.port.check().map_err(|error| self.fail(py, error))
    }

    /// For a forked child: refuses every further call, without a lock that a thread of the parent may hold.
    fn abandon(&self) {
        self.port.abandon();
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.port.close());
    }
}

/// The kinds of ports, and the wrappers that can be put around them.
#[pyfunction]
pub fn ports(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let kinds = KINDS.iter().map(|kind| kind_as_dict(py, kind));
    let wrappers = WRAPPERS.iter().map(|wrapper| wrapper_as_dict(py, wrapper));
    kinds.chain(wrappers).collect()
}

fn kind_as_dict<'py>(py: Python<'py>, kind: &Kind) -> PyResult<Bound<'py, PyDict>> {
    let dict = as_dict(py, kind.name, &kind.syntax(), kind.about, kind.options)?;
    let reason = (kind.usable)().err();
    dict.set_item("needs", kind.needs)?;
    dict.set_item("usable", reason.is_none())?;
    dict.set_item("reason", reason)?;
    Ok(dict)
}

fn wrapper_as_dict<'py>(py: Python<'py>, wrapper: &Wrapper) -> PyResult<Bound<'py, PyDict>> {
    let dict = as_dict(py, wrapper.name, &wrapper.syntax(), wrapper.about, wrapper.options)?;
    dict.set_item("needs", py.None())?;
    dict.set_item("usable", true)?;
    dict.set_item("reason", py.None())?;
    Ok(dict)
}

fn as_dict<'py>(
    py: Python<'py>,
    name: &str,
    syntax: &str,
    about: &str,
    options: &[&dyn Listed],
) -> PyResult<Bound<'py, PyDict>> {
    let options = options.iter().map(|option| {
        let dict = PyDict::new(py);
        dict.set_item("name", option.name())?;
        dict.set_item("about", option.about())?;
        dict.set_item("allowed", option.allowed())?;
        dict.set_item("default", option.default())?;
        Ok(dict)
    });
    let dict = PyDict::new(py);
    dict.set_item("name", name)?;
    dict.set_item("syntax", syntax)?;
    dict.set_item("about", about)?;
    dict.set_item("options", options.collect::<PyResult<Vec<_>>>()?)?;
    Ok(dict)
}
