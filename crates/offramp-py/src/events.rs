// SPDX-License-Identifier: Apache-2.0
//! Events as Python sees them: dicts, which `_native.pyi` describes; and the watch on an interface without a reader.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use offramp_io::{Event, Events, Happening, Link};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors;

pub fn as_dicts(py: Python<'_>, events: Vec<Event>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    events.iter().map(|event| as_dict(py, event)).collect()
}

fn as_dict<'py>(py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("kind", event.what.name())?;
    dict.set_item("time", event.time)?;
    match &event.what {
        Happening::Moved { netns, ifindex } => {
            dict.set_item("netns", netns)?;
            dict.set_item("ifindex", ifindex)?;
        }
        Happening::Renamed { name } => dict.set_item("name", name)?,
        Happening::MtuChanged { mtu } => dict.set_item("mtu", mtu)?,
        Happening::ReaderBack { queue, nanoseconds } => {
            dict.set_item("queue", queue)?;
            dict.set_item("nanoseconds", nanoseconds)?;
        }
        _ => {}
    }
    Ok(dict)
}

/// What happens to an interface, for attachments: they have no reader that would notice.
#[pyclass(frozen, module = "offramp._native")]
pub struct LinkWatch {
    name: String,
    fd: i32,
    events: Arc<Events>,
    link: Mutex<Option<Link>>,
}

#[pymethods]
impl LinkWatch {
    /// Watches the interface in this thread's network namespace. `name` is for errors.
    #[new]
    fn new(py: Python<'_>, name: String, ifindex: i32) -> PyResult<Self> {
        let events = Arc::<Events>::default();
        let link = Link::watch(ifindex, Arc::clone(&events));
        let link = link.map_err(|error| errors::raise(py, &name, error))?;
        Ok(Self {
            name,
            fd: link.fd(),
            events,
            link: Mutex::new(Some(link)),
        })
    }

    /// Polls readable when something may have happened, until it is closed.
    fn fileno(&self) -> i32 {
        self.fd
    }

    /// The events since the last call; none after closing.
    fn events<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        as_dicts(py, py.detach(|| self.take()))
    }

    /// Raises if the interface is down or gone; never after closing.
    fn check_link(&self, py: Python<'_>) -> PyResult<()> {
        let check = py.detach(|| self.locked().as_mut().map_or(Ok(()), Link::check));
        check.map_err(|error| errors::raise(py, &self.name, error))
    }

    /// How many events were pushed out by newer ones before they were told.
    #[getter]
    fn events_dropped(&self) -> u64 {
        self.events.dropped()
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| drop(self.locked().take()));
    }
}

impl LinkWatch {
    /// Only without the GIL: whoever has the lock may be waiting for it. Nothing of Python happens under this lock.
    fn locked(&self) -> MutexGuard<'_, Option<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Event> {
        let mut link = self.locked();
        let Some(link) = link.as_mut() else {
            return Vec::new();
        };
        let _ = link.check(); // if the interface is down or gone, that is among the events
        self.events.take()
    }
}
