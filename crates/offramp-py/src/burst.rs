// SPDX-License-Identifier: Apache-2.0
//! Packets in Python's hands.

use std::ffi::c_int;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use offramp_ring::Held;
use offramp_wire as wire;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyIndexError, PyKeyError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::buffer::Exported;
use crate::errors;

/// Received packets, or a selection of them. Selections share the packets; the frames go back when the last one is dropped.
#[pyclass(frozen, module = "offramp._native")]
pub struct Burst {
    packets: Arc<Mutex<offramp_ring::Burst>>,
    /// Which of the packets, in which order.
    rows: Box<[u16]>,
    #[pyo3(get)]
    queue: usize,
    #[pyo3(get)]
    timestamp: u64,
}

impl Burst {
    pub fn new(packets: offramp_ring::Burst, queue: usize, timestamp: u64) -> Self {
        let rows = (0..packets.len() as u16).collect();
        Self {
            packets: Arc::new(Mutex::new(packets)),
            rows,
            queue,
            timestamp,
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

    fn columns(&self, py: Python<'_>, name: &str) -> PyResult<Columns> {
        let layer = wire::Layer::of(name).ok_or_else(|| PyKeyError::new_err(name.to_owned()))?;
        let packets = self.packets();
        let frames: Option<Vec<&[u8]>> = self.rows.iter().map(|&row| packets.bytes(usize::from(row))).collect();
        let frames = frames
            .ok_or_else(|| errors::option(py, "the batch has packets that were sent: read its columns before"))?;
        Ok(Columns(Arc::new(wire::Columns::parse(layer, frames.into_iter()))))
    }

    fn select(&self, indices: PyBuffer<u16>, py: Python<'_>) -> PyResult<Self> {
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
        })
    }

    fn swap_addresses(&self, py: Python<'_>) -> PyResult<()> {
        let mut packets = self.packets();
        // All of them or none.
        if self.rows.iter().any(|&row| packets.bytes_mut(row.into()).is_none()) {
            let what = "a packet with a live view, or one that was sent, cannot be changed";
            return Err(errors::option(py, what));
        }
        for &row in &self.rows {
            packets.bytes_mut(row.into()).map(wire::swap_addresses);
        }
        Ok(())
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

/// One packet, through the buffer protocol. Its frame is not recycled while the view, or anything made of it, lives.
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
