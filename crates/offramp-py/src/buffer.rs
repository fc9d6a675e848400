// SPDX-License-Identifier: Apache-2.0
//! Read-only memory for Python's buffer protocol (PEP 3118): NumPy and memoryview look directly at Rust's memory.

use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;

/// Bytes that a Python object shows.
pub struct Exported {
    start: *const u8,
    size: usize,
}

// SAFETY: the memory is never written while it is exported, so that any thread may read it.
unsafe impl Send for Exported {}
// SAFETY: as above.
unsafe impl Sync for Exported {}

impl Exported {
    /// `values` must stay in place, and unchanged, as long as the Python object that holds this lives.
    pub fn new<T: Copy>(values: &[T]) -> Self {
        Self {
            start: values.as_ptr().cast(),
            size: size_of_val(values),
        }
    }

    /// Fills in `view` for `owner`, which owns this value.
    ///
    /// # Safety
    /// `view` is what Python passed to `__getbuffer__` of `owner`.
    pub unsafe fn fill(&self, owner: &Bound<'_, PyAny>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let (start, size) = (self.start.cast_mut().cast(), self.size as ffi::Py_ssize_t);
        // SAFETY: the memory is alive and unchanged by contract of `new`; the view takes a reference to `owner`. Marked
        // read-only, so that a request for writable memory is refused with BufferError.
        let result = unsafe { ffi::PyBuffer_FillInfo(view, owner.as_ptr(), start, size, 1, flags) };
        if result == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(owner.py()))
        }
    }
}
