// SPDX-License-Identifier: Apache-2.0
//! Read-only memory for Python's buffer protocol (PEP 3118), so that NumPy and memoryview look at Rust's memory.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Contiguous read-only elements. The pointer is valid as long as the Python object that exports it.
pub struct Exported {
    pub start: *const u8,
    pub item_size: usize,
    /// A format of the `struct` module.
    pub format: &'static CStr,
    pub shape: Vec<ffi::Py_ssize_t>,
    pub strides: Vec<ffi::Py_ssize_t>,
}

// SAFETY: the memory is never written while it is exported, so that any thread may read it.
unsafe impl Send for Exported {}
// SAFETY: as above.
unsafe impl Sync for Exported {}

impl Exported {
    /// `count` elements, each a scalar, or a row of `width` bytes if there is a width.
    pub fn new(start: *const u8, count: usize, item_size: usize, format: &'static CStr, width: Option<usize>) -> Self {
        let mut shape = vec![count as ffi::Py_ssize_t];
        shape.extend(width.map(|width| width as ffi::Py_ssize_t));
        let row = (item_size * width.unwrap_or(1)) as ffi::Py_ssize_t;
        let mut strides = vec![row];
        strides.extend(width.map(|_| item_size as ffi::Py_ssize_t));
        Self {
            start,
            item_size,
            format,
            shape,
            strides,
        }
    }

    /// Fills in `view` for `owner`, which owns this value.
    ///
    /// # Safety
    /// `view` is null or valid for writing, and `self` lives in `owner`.
    pub unsafe fn fill(&self, owner: Bound<'_, PyAny>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill in"));
        }
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("packets and columns are read-only"));
        }
        let asked = |flag| flags & flag == flag;
        let count: ffi::Py_ssize_t = self.shape.iter().product();
        let no_sizes = ptr::null_mut::<ffi::Py_ssize_t>();
        // SAFETY: by contract; the shape and the strides live in `self`, which lives as long as `owner`, whose reference the view takes.
        unsafe {
            (*view).obj = owner.into_ptr();
            (*view).buf = self.start.cast_mut().cast::<c_void>();
            (*view).len = count * self.item_size as ffi::Py_ssize_t;
            (*view).readonly = 1;
            (*view).itemsize = self.item_size as ffi::Py_ssize_t;
            (*view).format = if asked(ffi::PyBUF_FORMAT) {
                self.format.as_ptr().cast_mut()
            } else {
                ptr::null_mut()
            };
            (*view).ndim = self.shape.len() as c_int;
            (*view).shape = if asked(ffi::PyBUF_ND) {
                self.shape.as_ptr().cast_mut()
            } else {
                no_sizes
            };
            (*view).strides = if asked(ffi::PyBUF_STRIDES) {
                self.strides.as_ptr().cast_mut()
            } else {
                no_sizes
            };
            (*view).suboffsets = ptr::null_mut();
            (*view).internal = ptr::null_mut();
        }
        Ok(())
    }
}
