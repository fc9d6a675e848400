// SPDX-License-Identifier: Apache-2.0
//! Keyword arguments as options of a port.

use offramp_io::ports::options::Given;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

/// Text stays text; packets become packets; another list becomes a key given several times; all else its `str`.
pub fn options_of(options: &Bound<'_, PyDict>) -> PyResult<Vec<(String, Given)>> {
    let mut given = Vec::new();
    for (key, value) in options {
        let key: String = key.extract()?;
        if value.is_none() {
            continue; // not given
        }
        if key == "packets" {
            given.push((key, Given::Packets(value.extract()?)));
        } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
            for element in value.try_iter()? {
                given.push((key.clone(), text(&element?)?));
            }
        } else {
            given.push((key, text(&value)?));
        }
    }
    Ok(given)
}

fn text(value: &Bound<'_, PyAny>) -> PyResult<Given> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Given::Text(String::from_utf8_lossy(bytes.as_bytes()).into_owned()));
    }
    let text = match value.cast::<PyString>() {
        Ok(text) => text.to_str()?.to_owned(),
        Err(_) => value.str()?.to_str()?.to_owned(),
    };
    Ok(Given::Text(text))
}
