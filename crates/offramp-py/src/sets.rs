// SPDX-License-Identifier: Apache-2.0
//! Sets as Python sees them: elements in and out, and the errors. `offramp.state` is their face.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use offramp_io::{MapMemory, OwnMemory};
use offramp_state::item::{family_of, from_lines, from_number, from_text, network_text};
use offramp_state::set::Writer;
use offramp_state::{Error, Family, Item, Items, Reader, Set, Shape, Structure, Wrong};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyInt, PyList, PyString, PyType};

use crate::errors;

const FAMILIES: [(&str, Family); 4] = [
    ("ip", Family::Ip),
    ("ip6", Family::Ip6),
    ("port", Family::Port),
    ("ether", Family::Ether),
];
const STRUCTURES: [(&str, Structure); 3] = [
    ("bitmap", Structure::Bitmap),
    ("hash", Structure::Hash),
    ("ranges", Structure::Ranges),
];

fn named<T: Copy>(names: &[(&str, T)], name: &str) -> PyResult<T> {
    let found = names.iter().find(|(known, _)| *known == name);
    found
        .map(|&(_, value)| value)
        .ok_or_else(|| PyValueError::new_err(name.to_owned()))
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names
        .iter()
        .find(|(_, known)| known == value)
        .map_or("", |(name, _)| name)
}

/// The memory of a set, and the only way to change it.
#[pyclass(frozen, module = "offramp._native")]
pub struct SetCore {
    set: Arc<Set>,
}

#[pymethods]
impl SetCore {
    #[new]
    fn new(py: Python<'_>, structure: &str, family: &str, capacity: usize) -> PyResult<Self> {
        let (structure, family) = (named(&STRUCTURES, structure)?, named(&FAMILIES, family)?);
        let shape = Shape::new(structure, family, capacity).ok_or_else(|| {
            let what = format!("a set for {capacity} elements does not fit into memory that programs can look into");
            errors::make(py, "OptionError", &what, "choose a smaller capacity=, from 1 on")
        })?;
        let memory = OwnMemory::new(shape.bytes()).map_err(|error| errors::raise(py, "a set", error))?;
        let set = Arc::new(Set::new(shape, Box::new(memory)));
        Ok(Self { set })
    }

    /// The family that an element is of, if that can be told from it alone.
    #[staticmethod]
    fn family_of(element: &Bound<'_, PyAny>) -> PyResult<Option<&'static str>> {
        let family = if let Ok(text) = element.cast::<PyString>() {
            family_of(text.to_str()?)
        } else if let Ok(bytes) = element.cast::<PyBytes>() {
            let bits = bytes.as_bytes().len() * 8;
            [Family::Ip, Family::Ip6, Family::Ether]
                .into_iter()
                .find(|family| usize::from(family.bits()) == bits)
        } else if let Some(address) = Address::of(element)? {
            Some(address.family)
        } else {
            element.extract::<u16>().ok().map(|_| Family::Port)
        };
        Ok(family.map(|family| name_of(&FAMILIES, &family)))
    }

    #[getter]
    fn structure(&self) -> &'static str {
        name_of(&STRUCTURES, &self.set.shape().structure)
    }

    #[getter]
    fn family(&self) -> &'static str {
        name_of(&FAMILIES, &self.set.shape().family)
    }

    #[getter]
    fn capacity(&self) -> usize {
        self.set.shape().capacity
    }

    /// Bytes of memory.
    #[getter]
    fn size(&self) -> usize {
        self.set.shape().bytes()
    }

    fn __len__(&self) -> usize {
        self.set.len()
    }

    /// Whether it is new.
    fn add(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        let item = self.item(element)?;
        self.change(element.py(), |writer| writer.insert(item))
    }

    /// Whether it was there.
    fn remove(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        let item = self.item(element)?;
        self.change(element.py(), |writer| writer.remove(item))
    }

    /// An address: whether packets with it match. A network: whether it is an element.
    fn __contains__(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        match self.item(element)? {
            Item::Number(value) => Ok(self.set.matches(value.into())),
            Item::Wide(value) => Ok(self.set.matches(value)),
            item if is_network(element)? => {
                let py = element.py();
                self.look(py, |writer| writer.contains(item))
            }
            item => Ok(self.set.matches(first(item))),
        }
    }

    /// The longest network with this address.
    fn longest(&self, address: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let (py, shape) = (address.py(), self.set.shape());
        let item = self.item(address)?;
        if is_network(address)? {
            let what = format!("{} is a network", address.repr()?);
            return Err(errors::make(py, "OptionError", &what, "look up an address"));
        }
        let found = self.look(py, |writer| writer.longest(first(item)))?;
        Ok(found.map(|item| text_of(shape.family, item)))
    }

    /// Adds all of them; if one is wrong, or they do not fit, none.
    fn extend(&self, elements: &Bound<'_, PyAny>) -> PyResult<()> {
        let items = self.items(elements)?;
        self.change_long(elements.py(), |writer| writer.extend(&items))
    }

    /// Removes those that are there; if one is wrong, none.
    fn subtract(&self, elements: &Bound<'_, PyAny>) -> PyResult<()> {
        let items = self.items(elements)?;
        self.change_long(elements.py(), |writer| writer.subtract(&items))
    }

    /// Packets see the elements as they were, or these.
    fn replace(&self, elements: &Bound<'_, PyAny>) -> PyResult<()> {
        let items = self.items(elements)?;
        self.change_long(elements.py(), |writer| writer.replace(items))
    }

    /// `replace` by the lines of a file; `name` is the file's, for errors.
    fn replace_lines(&self, py: Python<'_>, text: &str, name: &str) -> PyResult<()> {
        let shape = self.set.shape();
        let items = py.detach(|| from_lines(shape, text)).map_err(|(number, line, wrong)| {
            let (what, hint) = describe(shape, &format!("{line:?}"), wrong);
            errors::make(py, "OptionError", &format!("{name}, line {number}: {what}"), &hint)
        })?;
        self.change_long(py, |writer| writer.replace(items))
    }

    /// Becomes the set of all keys in these inclusive ranges, ascending and disjoint, for good.
    fn fix(&self, py: Python<'_>, ranges: Vec<(u128, u128)>) -> PyResult<()> {
        self.change_long(py, |writer| writer.fix(&ranges))
    }

    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let none = Items::new(self.set.shape(), 0);
        self.change_long(py, |writer| writer.replace(none))
    }

    /// Ascending: ports as int, all others as str.
    fn elements<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let family = self.set.shape().family;
        let items = self.look(py, Writer::items)?;
        if let (Family::Port, Items::Numbers(ports)) = (family, &items) {
            return PyList::new(py, ports);
        }
        let mut text = String::new();
        let texts = (0..items.len()).map(|index| {
            text.clear();
            items.get(index).write(family, &mut text);
            PyString::new(py, &text)
        });
        PyList::new(py, texts.collect::<Vec<_>>())
    }

    /// The elements, each in a line of its own.
    fn lines(&self, py: Python<'_>) -> PyResult<String> {
        let family = self.set.shape().family;
        let items = self.look(py, Writer::items)?;
        Ok(py.detach(|| {
            let mut text = String::with_capacity(items.len() * 18);
            for index in 0..items.len() {
                items.get(index).write(family, &mut text);
                text.push('\n');
            }
            text
        }))
    }

    /// Moves into the value of a BPF map, which is all zeros.
    fn rehome(&self, py: Python<'_>, fd: i32) -> PyResult<()> {
        let size = self.set.shape().bytes();
        // SAFETY: the caller keeps the map open during the call.
        let map = unsafe { BorrowedFd::borrow_raw(fd) };
        let memory = MapMemory::new(map, size).map_err(|error| errors::raise(py, "a set", error))?;
        self.change_long(py, |writer| {
            writer.rehome(Box::new(memory));
            Ok(())
        })
    }

    /// For native code outside of this module.
    fn read(&self) -> SetReader {
        SetReader(Mutex::new(Some(self.set.read())))
    }
}

impl SetCore {
    /// A place among the readers, for native code: hold it while the code runs, and without the GIL, or with it all the time.
    pub fn reader(&self) -> Reader {
        self.set.read()
    }

    /// A change that is mostly quick: only if it is not, the GIL is released.
    fn change<T: Send>(
        &self,
        py: Python<'_>,
        change: impl Fn(&mut Writer) -> Result<T, Error> + Send + Sync,
    ) -> PyResult<T> {
        match self.set.change_now(&change) {
            Err(Error::Busy) => self.change_long(py, change),
            result => result.map_err(|error| self.refusal(py, error)),
        }
    }

    fn change_long<T: Send>(
        &self,
        py: Python<'_>,
        change: impl FnOnce(&mut Writer) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        py.detach(|| self.set.change(change))
            .map_err(|error| self.refusal(py, error))
    }

    fn look<T: Send>(&self, py: Python<'_>, look: impl FnOnce(&Writer) -> T + Send) -> PyResult<T> {
        py.detach(|| self.set.look(look)).map_err(|error| match error {
            Error::Forked => errors::make(
                py,
                "Closed",
                "the set was being changed at the moment when this process was forked: its elements are not known here",
                "fork while no other thread changes it",
            ),
            error => self.refusal(py, error),
        })
    }

    fn refusal(&self, py: Python<'_>, error: Error) -> PyErr {
        match error {
            Error::Full { wanted, capacity } => {
                let held = self.set.len();
                let what = if wanted == held + 1 {
                    format!("the set is full: it holds {held} of {capacity} elements")
                } else {
                    format!("{wanted} elements do not fit: the set holds {held} of {capacity}")
                };
                errors::make(py, "OptionError", &what, "make it with more capacity=")
            }
            Error::Forked => errors::make(
                py,
                "Closed",
                "a set is changed only by the process that made it, and this one was forked from it",
                "make a set of its own here",
            ),
            Error::System { what, errno } => {
                let what = what.to_owned();
                errors::raise(py, "a set", offramp_io::Error::System { what, errno })
            }
            Error::Busy => errors::option(py, "the set is busy"),
        }
    }

    /// The element that a Python object stands for.
    fn item(&self, element: &Bound<'_, PyAny>) -> PyResult<Item> {
        let shape = self.set.shape();
        let result = if let Ok(text) = element.cast::<PyString>() {
            from_text(shape, text.to_str()?)
        } else if let Ok(bytes) = element.cast::<PyBytes>() {
            match bytes.as_bytes() {
                bytes if bytes.len() * 8 == usize::from(shape.family.bits()) && shape.family != Family::Port => {
                    let value = bytes.iter().fold(0, |value, &byte| value << 8 | u128::from(byte));
                    from_number(shape, value, None)
                }
                _ => Err(Wrong::Text),
            }
        } else if let Some(address) = Address::of(element)? {
            if address.family == shape.family {
                from_number(shape, address.value, address.length)
            } else {
                Err(Wrong::Family(address.family))
            }
        } else {
            match number(element) {
                Some(value) => from_number(shape, value, None),
                None if element.is_instance_of::<PyInt>() && !element.is_instance_of::<PyBool>() => Err(Wrong::Number),
                None => Err(Wrong::Text),
            }
        };
        result.map_err(|wrong| {
            let text = element
                .repr()
                .map_or_else(|_| "an element".into(), |text| text.to_string());
            let (what, hint) = describe(shape, &text, wrong);
            errors::make(element.py(), "OptionError", &what, &hint)
        })
    }

    fn items(&self, elements: &Bound<'_, PyAny>) -> PyResult<Items> {
        if elements.is_instance_of::<PyString>() || elements.is_instance_of::<PyBytes>() {
            let what = format!("{} is one element, where many are expected", elements.repr()?);
            return Err(errors::make(elements.py(), "OptionError", &what, "put it in a list"));
        }
        let mut items = Items::new(self.set.shape(), elements.len().unwrap_or(0));
        for element in elements.try_iter()? {
            items.push(self.item(&element?)?);
        }
        Ok(items)
    }
}

/// Numbers of all kinds, NumPy's included, but no truth values.
fn number(element: &Bound<'_, PyAny>) -> Option<u128> {
    if element.is_instance_of::<PyBool>() {
        return None;
    }
    element
        .extract::<u64>()
        .map(Into::into)
        .or_else(|_| element.extract())
        .ok()
}

/// Whether it was given as a network, were it of one address.
fn is_network(element: &Bound<'_, PyAny>) -> PyResult<bool> {
    if let Ok(text) = element.cast::<PyString>() {
        return Ok(text.to_str()?.contains('/'));
    }
    Ok(Address::of(element)?.is_some_and(|address| address.length.is_some()))
}

fn first(item: Item) -> u128 {
    match item {
        Item::Number(value) => value.into(),
        Item::Wide(value) => value,
        Item::Prefix(prefix) => prefix.first.into(),
        Item::Prefix6(prefix) => prefix.first,
    }
}

fn text_of(family: Family, item: Item) -> String {
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
        let Some(place) = kinds.iter().position(|kind| element.get_type().is(kind)) else {
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
fn describe(shape: Shape, element: &str, wrong: Wrong) -> (String, String) {
    let networks = shape.structure == Structure::Ranges;
    let kind = |family| match family {
        Family::Ip if networks => "an IPv4 network or address",
        Family::Ip6 if networks => "an IPv6 network or address",
        Family::Ip => "an IPv4 address",
        Family::Ip6 => "an IPv6 address",
        Family::Port => "a port",
        Family::Ether => "an Ethernet address",
    };
    let example = match shape.family {
        Family::Ip if networks => "as in \"203.0.113.0/24\"",
        Family::Ip6 if networks => "as in \"2001:db8::/32\"",
        Family::Ip => "as in \"203.0.113.7\"",
        Family::Ip6 => "as in \"2001:db8::7\"",
        Family::Port => "a number from 0 to 65535",
        Family::Ether => "as in \"02:00:5e:10:00:00\"",
    };
    let wanted = kind(shape.family);
    let name = name_of(&FAMILIES, &shape.family);
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
            format!("it has 0 to {} bits", shape.family.bits()),
        ),
        Wrong::HostBits(network, length) => (
            format!("{element} has bits set behind its prefix"),
            format!(
                "the network is {}; for one address leave out '/{length}'",
                network_text(shape.family, network, length)
            ),
        ),
    }
}

/// The address of a set's memory, for as long as it is entered.
#[pyclass(frozen, module = "offramp._native")]
pub struct SetReader(Mutex<Option<Reader>>);

#[pymethods]
impl SetReader {
    fn __enter__(&self, py: Python<'_>) -> PyResult<usize> {
        let reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = reader.as_ref().map(|reader| reader.start() as usize);
        start.ok_or_else(|| errors::option(py, "a reader of a set can be entered once"))
    }

    fn __exit__(&self, _kind: &Bound<'_, PyAny>, _error: &Bound<'_, PyAny>, _traceback: &Bound<'_, PyAny>) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
