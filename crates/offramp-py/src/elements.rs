// SPDX-License-Identifier: Apache-2.0
//! Python objects as elements of sets, and the errors about objects that are not elements.

use offramp_state::shape::from_number;
use offramp_state::text::{family_of, from_text, network_text};
use offramp_state::{Family, Item, Shape, Wrong};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyInt, PyString, PyType};

use crate::errors;

pub const FAMILIES: [(&str, Family); 4] = [
    ("ip", Family::Ip),
    ("ip6", Family::Ip6),
    ("port", Family::Port),
    ("ether", Family::Ether),
];

pub fn named<T: Copy>(names: &[(&str, T)], name: &str) -> PyResult<T> {
    let found = names.iter().find(|(known, _)| *known == name);
    found
        .map(|&(_, value)| value)
        .ok_or_else(|| PyValueError::new_err(name.to_owned()))
}

pub fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names
        .iter()
        .find(|(_, known)| known == value)
        .map_or("", |(name, _)| name)
}

/// The family of an element, if the element alone tells it.
pub fn family(element: &Bound<'_, PyAny>) -> PyResult<Option<Family>> {
    Ok(if let Ok(text) = element.cast::<PyString>() {
        text.to_str().ok().and_then(family_of)
    } else if let Ok(bytes) = element.cast::<PyBytes>() {
        let bits = bytes.as_bytes().len() * 8;
        [Family::Ip, Family::Ip6, Family::Ether]
            .into_iter()
            .find(|family| usize::from(family.bits()) == bits)
    } else if let Some(address) = Address::of(element)? {
        Some(address.family)
    } else if element.is_instance_of::<PyInt>() {
        element.extract::<u16>().ok().map(|_| Family::Port)
    } else {
        // NumPy's numbers: the columns of a batch have them
        match element.getattr("itemsize").and_then(|size| size.extract::<usize>()) {
            Ok(2) => Some(Family::Port),
            Ok(4) => Some(Family::Ip),
            _ => None,
        }
    })
}

/// A longer text is cut in errors.
const LONG: usize = 200;

/// The element that a Python object stands for. `numbers`: whether a Python number may be one.
pub fn item(shape: Shape, numbers: bool, element: &Bound<'_, PyAny>) -> PyResult<Item> {
    read(shape, numbers, element).map_err(|refused| refused.told(shape, element))
}

/// As `item`, but none for an element of the other version of IP: it is not in the set, and that is no mistake.
pub fn sought(shape: Shape, numbers: bool, element: &Bound<'_, PyAny>) -> PyResult<Option<Item>> {
    match read(shape, numbers, element) {
        Ok(item) => Ok(Some(item)),
        Err(Refused::Wrong(Wrong::Family(_))) => Ok(None),
        Err(refused) => Err(refused.told(shape, element)),
    }
}

/// Why a Python object is not an element: what is wrong with it, or what Python raised.
enum Refused {
    Wrong(Wrong),
    Raised(PyErr),
}

impl From<Wrong> for Refused {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl From<PyErr> for Refused {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl Refused {
    #[cold]
    fn told(self, shape: Shape, element: &Bound<'_, PyAny>) -> PyErr {
        let wrong = match self {
            Self::Raised(error) => return error,
            Self::Wrong(wrong) => wrong,
        };
        let text = element
            .repr()
            .map_or_else(|_| "an element".into(), |text| text.to_string());
        let text = if text.len() > LONG {
            errors::short(element)
        } else {
            text
        };
        let (what, hint) = describe(shape, &text, wrong);
        errors::make(element.py(), "OptionError", &what, &hint)
    }
}

fn read(shape: Shape, numbers: bool, element: &Bound<'_, PyAny>) -> Result<Item, Refused> {
    let family = shape.family();
    if let Ok(text) = element.cast::<PyString>() {
        return Ok(from_text(shape, text.to_str().map_err(|_| Wrong::Text)?)?);
    }
    if let Ok(bytes) = element.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        return match (family, bytes.len()) {
            (Family::Ip, 16) => Err(Wrong::Family(Family::Ip6).into()),
            (Family::Ip6, 4) => Err(Wrong::Family(Family::Ip).into()),
            (family, length) if family == Family::Port || length * 8 != usize::from(family.bits()) => {
                Err(Wrong::Text.into())
            }
            _ => {
                let value = bytes.iter().fold(0, |value, &byte| value << 8 | u128::from(byte));
                Ok(from_number(shape, value, None)?)
            }
        };
    }
    if let Some(address) = Address::of(element)? {
        if address.family != family {
            return Err(Wrong::Family(address.family).into());
        }
        return Ok(from_number(shape, address.value, address.length)?);
    }
    match number(element) {
        // 443 among addresses is a mistake, not 0.0.1.187; NumPy's numbers come from the columns of a batch
        Some(_) if !numbers && element.is_instance_of::<PyInt>() => Err(Wrong::Text.into()),
        Some(value) => Ok(from_number(shape, value, None)?),
        None if element.is_instance_of::<PyInt>() && !element.is_instance_of::<PyBool>() => Err(Wrong::Number.into()),
        None => Err(Wrong::Text.into()),
    }
}

/// Numbers of all kinds, including NumPy's, but not True and False.
pub fn number(element: &Bound<'_, PyAny>) -> Option<u128> {
    if element.is_instance_of::<PyBool>() {
        return None;
    }
    element
        .extract::<u64>()
        .map(Into::into)
        .or_else(|_| element.extract())
        .ok()
}

/// Whether it was given as a network, even a network of one address.
pub fn is_network(element: &Bound<'_, PyAny>) -> PyResult<bool> {
    if let Ok(text) = element.cast::<PyString>() {
        return Ok(text.to_str().is_ok_and(|text| text.contains('/')));
    }
    Ok(Address::of(element)?.is_some_and(|address| address.length.is_some()))
}

pub fn text_of(family: Family, item: Item) -> String {
    let mut text = String::new();
    item.write(family, &mut text);
    text
}

/// What an object of the module `ipaddress` stands for.
struct Address {
    family: Family,
    value: u128,
    length: Option<u8>,
}

impl Address {
    fn of(element: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        static KINDS: PyOnceLock<[Py<PyType>; 4]> = PyOnceLock::new();
        let py = element.py();
        let kinds = KINDS.get_or_try_init(py, || -> PyResult<_> {
            let module = py.import("ipaddress")?;
            let kind = |name| PyResult::Ok(module.getattr(name)?.cast_into::<PyType>()?.unbind());
            let addresses = [kind("IPv4Address")?, kind("IPv6Address")?];
            let [v4, v6] = addresses;
            Ok([v4, v6, kind("IPv4Network")?, kind("IPv6Network")?])
        })?;
        let of = element.get_type();
        let Some(place) = kinds.iter().position(|kind| of.is(kind)) else {
            return Ok(None);
        };
        let family = [Family::Ip, Family::Ip6][place % 2];
        let as_number = |address: &Bound<'_, PyAny>| address.call_method0("__int__")?.extract();
        Ok(Some(if place < 2 {
            Self {
                family,
                value: as_number(element)?,
                length: None,
            }
        } else {
            Self {
                family,
                value: as_number(&element.getattr("network_address")?)?,
                length: Some(element.getattr("prefixlen")?.extract()?),
            }
        }))
    }
}

/// What is wrong with the element, and what to do about it.
pub fn describe(shape: Shape, element: &str, wrong: Wrong) -> (String, String) {
    let networks = shape.has_networks();
    let kind = |family| match family {
        Family::Ip if networks => "an IPv4 network or address",
        Family::Ip6 if networks => "an IPv6 network or address",
        Family::Ip => "an IPv4 address",
        Family::Ip6 => "an IPv6 address",
        Family::Port => "a port",
        Family::Ether => "an Ethernet address",
    };
    let example = match shape.family() {
        Family::Ip if networks => "as in \"203.0.113.0/24\"",
        Family::Ip6 if networks => "as in \"2001:db8::/32\"",
        Family::Ip => "as in \"203.0.113.7\"",
        Family::Ip6 => "as in \"2001:db8::7\"",
        Family::Port => "a number from 0 to 65535",
        Family::Ether => "as in \"02:00:5e:10:00:00\"",
    };
    let wanted = kind(shape.family());
    let name = name_of(&FAMILIES, &shape.family());
    match wrong {
        Wrong::Text => (format!("{element} is not {wanted}"), example.into()),
        Wrong::Number => (format!("{element} is not {wanted}: out of range"), example.into()),
        Wrong::Family(other) => (
            format!("{element} is {}, in a set of family {name:?}", kind(other)),
            "a set holds one family: make another one".into(),
        ),
        Wrong::Network => (
            format!("{element} is a network, not {wanted}"),
            "use a PrefixSet".into(),
        ),
        Wrong::Length => (
            format!("{element} is not {wanted}: the prefix is too long"),
            format!("it has 0 to {} bits", shape.family().bits()),
        ),
        Wrong::HostBits(network, length) => (
            format!("{element} has bits set behind its prefix"),
            format!(
                "the network is {}; for one address leave out '/{length}'",
                network_text(shape.family(), network, length)
            ),
        ),
    }
}
