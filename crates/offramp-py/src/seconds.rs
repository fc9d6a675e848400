// SPDX-License-Identifier: Apache-2.0
//! Times for Python.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::errors;

/// A time to wait, as Python gives it. A value that is not such a time is an `OptionError`.
pub struct Seconds(Duration);

impl<'py> FromPyObject<'_, 'py> for Seconds {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let seconds = given.extract::<f64>().ok();
        match seconds.map(Duration::try_from_secs_f64) {
            Some(Ok(duration)) => Ok(Self(duration)),
            _ => Err(errors::option(
                given.py(),
                &format!("a wait of {}: not a number of seconds, 0 or more", given.repr()?),
            )),
        }
    }
}

impl Seconds {
    /// The moment that is this far from now.
    pub fn later(&self, py: Python<'_>) -> PyResult<Instant> {
        let moment = Instant::now().checked_add(self.0);
        moment.ok_or_else(|| errors::option(py, &format!("a wait of {:?}: beyond the clock's seconds", self.0)))
    }

    pub const fn duration(&self) -> Duration {
        self.0
    }
}
