// SPDX-License-Identifier: Apache-2.0
//! `offramp._native`: the data plane as Python sees it. It is only PyO3; `_native.pyi` documents it.
//!
//! - [`errors`]: the one map from Rust errors to `offramp.errors`
//! - [`code`]: compiled matches
//! - [`port`]: ports, with their [`options`], [`events`] and [`seconds`] to wait; every call that may wait gives up the
//!   GIL
//! - [`sets`]: sets that packets are looked up in; [`elements`]: what they can hold
//! - [`burst`]: packets, their columns, and views of them through the buffer protocol

mod buffer;
mod burst;
mod code;
mod elements;
mod errors;
mod events;
mod options;
mod port;
mod seconds;
mod sets;

use pyo3::prelude::*;

/// Receives and discards datagrams from a UDP socket with recvmmsg(2); returns how many there were.
#[pyfunction]
fn drain_udp(py: Python<'_>, fd: i32, seconds: seconds::Seconds) -> PyResult<u64> {
    if fd < 0 {
        return Err(errors::option(py, "the socket is closed"));
    }
    // SAFETY: the caller keeps the socket open during the call.
    let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    py.detach(|| offramp_io::udp::drain(socket, seconds.duration()))
        .map_err(|error| errors::raise(py, "UDP socket", error))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let _ = offramp_io::sys::process(); // from now on forks are counted
    module.add_class::<port::Port>()?;
    module.add_class::<events::LinkWatch>()?;
    module.add_class::<burst::Burst>()?;
    module.add_class::<burst::Columns>()?;
    module.add_class::<burst::Column>()?;
    module.add_class::<burst::Times>()?;
    module.add_class::<burst::View>()?;
    module.add_class::<code::Code>()?;
    module.add_class::<sets::SetCore>()?;
    module.add_class::<sets::SetReader>()?;
    module.add(
        "FIELDS",
        offramp_wire::FIELDS
            .iter()
            .copied()
            .collect::<std::collections::BTreeMap<_, _>>(),
    )?;
    module.add("BURST", offramp_ring::BURST)?;
    module.add_function(wrap_pyfunction!(port::ports, module)?)?;
    module.add_function(wrap_pyfunction!(drain_udp, module)?)
}
