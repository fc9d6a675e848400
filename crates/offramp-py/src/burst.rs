// SPDX-License-Identifier: Apache-2.0
//! Packets for Python.

use std::ffi::c_int;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use offramp_io::Timestamps;
use offramp_ring::Held;
use offramp_wire as wire;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyIndexError, PyKeyError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::buffer::Exported;
use crate::errors;

/// A selection may name a packet several times. A buffer may say that it has any number, and have no memory for them.
const MOST_ROWS: usize = 1 << 16;

/// Received packets, or a selection of them. Selections share the packets. The frames go back when the last selection
/// is dropped.
#[pyclass(frozen, module = "offramp._native")]
pub struct Burst {
    packets: Arc<Mutex<offramp_ring::Burst>>,
    /// Which of the packets, and in which order.
    rows: Box<[u16]>,
    /// The index of their queue in their port.
    #[pyo3(get)]
    queue: usize,
    /// When they were taken from the ring.
    #[pyo3(get)]
    timestamp: u64,
    timestamps: Timestamps,
}

impl Burst {
    pub fn new(packets: offramp_ring::Burst, timestamps: Timestamps) -> Self {
        let rows = (0..packets.len() as u16).collect();
        Self {
            rows,
            queue: packets.queue,
            timestamp: packets.time,
            timestamps,
            packets: Arc::new(Mutex::new(packets)),
        }
    }

    pub fn packets(&self) -> MutexGuard<'_, offramp_ring::Burst> {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn rows(&self) -> &[u16] {
        &self.rows
    }

    fn row(&self, index: usize) -> PyResult<usize> {
        let row = self
            .rows
            .get(index)
            .ok_or_else(|| PyIndexError::new_err("no such packet in the batch"))?;
        Ok(usize::from(*row))
    }
}

#[pymethods]
impl Burst {
    fn __len__(&self) -> usize {
        self.rows.len()
    }

    fn view(&self, py: Python<'_>, index: usize) -> PyResult<View> {
        let row = self.row(index)?;
        match self.packets().share(row) {
            Some(held) => Ok(View::new(held)),
            None => Err(errors::option(
                py,
                &format!("packet {index} of the batch was sent and is no longer here"),
            )),
        }
    }

    /// All columns of the layer that has this one.
    fn layer_of(&self, py: Python<'_>, column: &str) -> PyResult<Columns> {
        let layer = wire::Layer::of(column).ok_or_else(|| PyKeyError::new_err(column.to_owned()))?;
        let packets = self.packets();
        let columns = if layer == wire::Layer::Length {
            packets.wire_lengths(&self.rows).map(wire::Columns::of_lengths)
        } else {
            let frames = packets.frames(&self.rows);
            frames.map(|frames| wire::Columns::parse(layer, frames.into_iter()))
        };
        columns
            .map(|columns| Columns(Arc::new(columns)))
            .ok_or_else(|| sent(py))
    }

    /// Which moment the packets' times stand for.
    #[getter]
    fn timestamp_source(&self) -> &'static str {
        self.timestamps.name()
    }

    /// The time of each packet, in nanoseconds since 1970; `None` if `timestamp` holds for all.
    fn timestamps(&self, py: Python<'_>) -> PyResult<Option<Times>> {
        if self.timestamps == Timestamps::Poll {
            return Ok(None);
        }
        let times = self.packets().timestamps(&self.rows);
        times.map(Times::new).map(Some).ok_or_else(|| sent(py))
    }

    fn select(&self, indices: PyBuffer<u16>, py: Python<'_>) -> PyResult<Self> {
        if indices.item_count() > MOST_ROWS {
            let what = format!("{} packets of a batch of {}", indices.item_count(), self.rows.len());
            return Err(errors::option(py, &what));
        }
        let rows: PyResult<_> = indices
            .to_vec(py)?
            .into_iter()
            .map(|index| self.row(index.into()).map(|row| row as u16))
            .collect();
        Ok(Self {
            packets: Arc::clone(&self.packets),
            rows: rows?,
            queue: self.queue,
            timestamp: self.timestamp,
            timestamps: self.timestamps,
        })
    }

    fn swap_addresses(&self, py: Python<'_>) -> PyResult<()> {
        if self.packets().change(&self.rows, wire::swap_addresses) {
            return Ok(());
        }
        let what = "a packet with a live view, or one that was sent, cannot be changed";
        Err(errors::option(py, what))
    }
}

fn sent(py: Python<'_>) -> PyErr {
    errors::option(py, "the batch has packets that were sent: read its columns before")
}

/// The time of each packet of a batch, through the buffer protocol.
#[pyclass(frozen, module = "offramp._native")]
pub struct Times {
    exported: Exported,
    _times: Box<[u64]>,
}

impl Times {
    fn new(times: Box<[u64]>) -> Self {
        Self {
            exported: Exported::new(&times),
            _times: times,
        }
    }
}

#[pymethods]
impl Times {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: called by Python with a view to fill in; `exported` lives in `slf`.
        unsafe { slf.get().exported.fill(slf.as_any(), view, flags) }
    }
}

/// The parsed headers of a batch.
#[pyclass(frozen, module = "offramp._native")]
pub struct Columns(Arc<wire::Columns>);

#[pymethods]
impl Columns {
    fn __getitem__(&self, name: &str) -> PyResult<Column> {
        let exported = match self.0.get(name) {
            Some(wire::Column::Bool(values)) => Exported::new(values),
            Some(wire::Column::U8(values)) => Exported::new(values),
            Some(wire::Column::U16(values)) => Exported::new(values),
            Some(wire::Column::U32(values)) => Exported::new(values),
            Some(wire::Column::Mac(values)) => Exported::new(values),
            Some(wire::Column::Address(values)) => Exported::new(values),
            None => return Err(PyKeyError::new_err(name.to_owned())),
        };
        Ok(Column {
            exported,
            _owner: Arc::clone(&self.0),
        })
    }
}

/// One column, through the buffer protocol.
#[pyclass(frozen, module = "offramp._native")]
pub struct Column {
    exported: Exported,
    _owner: Arc<wire::Columns>,
}

#[pymethods]
impl Column {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: called by Python with a view to fill in; `exported` lives in `slf`.
        unsafe { slf.get().exported.fill(slf.as_any(), view, flags) }
    }
}

/// One packet, through the buffer protocol. Its frame is not recycled while the view, or anything made from it, lives.
#[pyclass(frozen, module = "offramp._native")]
pub struct View {
    exported: Exported,
    _held: Arc<Held>,
}

impl View {
    fn new(held: Arc<Held>) -> Self {
        Self {
            exported: Exported::new(held.bytes()),
            _held: held,
        }
    }
}

#[pymethods]
impl View {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: called by Python with a view to fill in; `exported` lives in `slf`.
        unsafe { slf.get().exported.fill(slf.as_any(), view, flags) }
    }
}
