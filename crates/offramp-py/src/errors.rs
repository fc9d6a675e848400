// SPDX-License-Identifier: Apache-2.0
//! The one place where a Rust error becomes a Python exception.

use offramp_io::Error;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The exception of `offramp.errors` for `error`; `whom` is what it happened to.
pub fn raise(py: Python<'_>, whom: &str, error: Error) -> PyErr {
    let text = format!("{whom}: {error}");
    let (class, hint) = match error {
        Error::System { what, errno } => return kernel_error(py, &format!("{whom}: {what}"), errno),
        Error::Option { what, hint } => return make(py, "OptionError", &what, &hint),
        Error::NoQueue { .. } => return option(py, &error.to_string()),
        Error::Closed { forked: false } => return make(py, "Closed", &error.to_string(), ""),
        Error::Closed { forked: true } => {
            let hint = "open in the process that reads, or start it by spawn";
            return make(py, "Closed", &error.to_string(), hint);
        }
        Error::NoInterface { .. } => ("NoSuchInterface", "`ip link` lists those that are there"),
        Error::Starved(_) => (
            "BatchInUse",
            "drop batches and views that are no longer needed, or open with more frames=",
        ),
        Error::Unsendable { why, .. } => return make(py, "OptionError", &text, &why.hint()),
        Error::NoWayOut { instead, .. } => {
            let hint = match instead {
                Some(queue) => format!("send on queue {queue}"),
                None => "also listen on queue 0, and send on that".into(),
            };
            return make(py, "OptionError", &text, &hint);
        }
        Error::LinkDown => ("InterfaceDown", "set it up again and go on, or close the ramp"),
        Error::LinkGone => (
            "InterfaceGone",
            "it was removed or moved to another network namespace; close the ramp",
        ),
    };
    make(py, class, &text, hint)
}

/// `OptionError`, for an argument with an impossible value.
pub fn option(py: Python<'_>, what: &str) -> PyErr {
    make(py, "OptionError", what, "")
}

/// A value in words, cut as Python's reprlib does.
pub fn short(value: &Bound<'_, PyAny>) -> String {
    let words = || {
        value
            .py()
            .import("reprlib")?
            .getattr("repr")?
            .call1((value,))?
            .extract()
    };
    words().unwrap_or_else(|_: PyErr| "a value".into())
}

/// The exception of that class.
pub fn make(py: Python<'_>, class: &str, what: &str, hint: &str) -> PyErr {
    let exception = || {
        let arguments = PyDict::new(py);
        arguments.set_item("hint", hint)?;
        py.import("offramp.errors")?
            .getattr(class)?
            .call((what,), Some(&arguments))
    };
    exception().map_or_else(|error: PyErr| error, PyErr::from_value)
}

fn kernel_error(py: Python<'_>, what: &str, errno: i32) -> PyErr {
    let class = match std::io::Error::from_raw_os_error(errno).kind() {
        std::io::ErrorKind::PermissionDenied => "PrivilegeError",
        _ => "KernelError",
    };
    let exception = || py.import("offramp.errors")?.getattr(class)?.call1((what, errno));
    exception().map_or_else(|error: PyErr| error, PyErr::from_value)
}
