// SPDX-License-Identifier: Apache-2.0
//! Keyword arguments as options of a port.

use offramp_io::ports::options::Given;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::errors;

/// Text stays text; packets become packets; another list becomes a key given several times; all else its `str`.
pub fn options_of(options: &Bound<'_, PyDict>) -> PyResult<Vec<(String, Given)>> {
    let mut given = Vec::new();
    for (key, value) in options {
        let key: String = unicode("an option", &key)?;
        if value.is_none() {
            continue; // not given
        }
        if key == "packets" {
            given.push((key, Given::Packets(value.extract()?)));
        } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
            for element in value.try_iter()? {
                given.push((key.clone(), text(&key, &element?)?));
            }
        } else {
            let value = text(&key, &value)?;
            given.push((key, value));
        }
    }
    Ok(given)
}

fn text(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Given> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Given::Text(String::from_utf8_lossy(bytes.as_bytes()).into_owned()));
    }
    Ok(Given::Text(unicode(name, value)?))
}

/// The `str` of a value. A part of a letter, which Python's text may have, is an `OptionError`.
pub fn unicode(name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = match value.cast::<PyString>() {
        Ok(text) => text.clone(),
        Err(_) => value.str()?,
    };
    let wrong = |_| errors::option(value.py(), &format!("{name}={}: not text", errors::short(value)));
    text.to_str().map(str::to_owned).map_err(wrong)
}
