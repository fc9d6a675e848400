// SPDX-License-Identifier: Apache-2.0
//! Sets as Python sees them: elements in and out, and the errors. `offramp.state` wraps them.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use offramp_io::sys::process;
use offramp_io::{MapMemory, OwnMemory};
use offramp_state::region::room_for;
use offramp_state::text::{Unread, from_lines};
use offramp_state::{Error, Family, Item, Items, Reader, Set, Shape, Structure, Writer};
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use crate::elements::{self, FAMILIES, describe, is_network, name_of, named, text_of};
use crate::errors;

/// The memory of a set, and the only way to change it.
#[pyclass(frozen, module = "offramp._native")]
pub struct SetCore {
    set: Arc<Set>,
    numbers: bool,
}

#[pymethods]
impl SetCore {
    /// `numbers`: whether an int can be an element. In a set of ports it always can.
    #[new]
    #[pyo3(signature = (structure, family, capacity, numbers = true))]
    fn new(py: Python<'_>, structure: &str, family: &str, capacity: usize, numbers: bool) -> PyResult<Self> {
        let (structure, family) = (named(Structure::NAMED, structure)?, named(&FAMILIES, family)?);
        let shape = Shape::new(structure, family, capacity).ok_or_else(|| {
            let what = format!("a set for {capacity} elements does not fit into memory that programs can look into");
            errors::make(py, "OptionError", &what, "choose a smaller capacity=, from 1 on")
        })?;
        let memory = OwnMemory::new(shape.bytes()).map_err(|error| errors::raise(py, "a set", error))?;
        let set = Arc::new(Set::new(shape, Box::new(memory), process));
        let numbers = numbers || family == Family::Port;
        Ok(Self { set, numbers })
    }

    /// The family of an element, if the element alone tells it.
    #[staticmethod]
    fn family_of(element: &Bound<'_, PyAny>) -> PyResult<Option<&'static str>> {
        let family = elements::family(element)?;
        Ok(family.map(|family| name_of(&FAMILIES, &family)))
    }

    #[getter]
    fn structure(&self) -> &'static str {
        name_of(Structure::NAMED, &self.set.shape().structure())
    }

    #[getter]
    fn family(&self) -> &'static str {
        name_of(&FAMILIES, &self.set.shape().family())
    }

    #[getter]
    fn capacity(&self) -> usize {
        self.set.shape().capacity()
    }

    /// The bytes of its memory.
    #[getter]
    fn size(&self) -> usize {
        self.set.shape().bytes()
    }

    fn __len__(&self) -> usize {
        self.set.len()
    }

    /// Adds the element. Returns whether it is new.
    fn add(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        let item = self.item(element)?;
        self.change(element.py(), |writer| writer.insert(item))
    }

    /// Removes the element. Returns whether it was there.
    fn remove(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        let item = self.item(element)?;
        self.change(element.py(), |writer| writer.remove(item))
    }

    /// For an address: whether packets with it match. For a network: whether it is an element.
    fn __contains__(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(item) = elements::sought(self.set.shape(), self.numbers, element)? else {
            return Ok(false);
        };
        if self.set.shape().has_networks() && is_network(element)? {
            return self.look(element.py(), |writer| Ok(writer.contains(item)));
        }
        Ok(self.set.matches(item.value))
    }

    /// The longest network that has this address.
    fn longest(&self, address: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let (py, shape) = (address.py(), self.set.shape());
        let Some(item) = elements::sought(shape, self.numbers, address)? else {
            return Ok(None);
        };
        if is_network(address)? {
            let what = format!("{} is a network", address.repr()?);
            return Err(errors::make(py, "OptionError", &what, "look up an address"));
        }
        let found = self.look(py, |writer| Ok(writer.longest(item.value)))?;
        Ok(found.map(|item| text_of(shape.family(), item)))
    }

    /// Adds all of them; if one is wrong, or they do not fit, adds none.
    fn extend(&self, elements: &Bound<'_, PyAny>) -> PyResult<()> {
        let items = self.items(elements, Wanted::All)?;
        self.change_long(elements.py(), |writer| writer.extend(&items))
    }

    /// Removes those that are there; if one is wrong, removes none.
    fn subtract(&self, elements: &Bound<'_, PyAny>) -> PyResult<()> {
        let items = self.items(elements, Wanted::Present)?;
        self.change_long(elements.py(), |writer| writer.subtract(&items))
    }

    /// Replaces the elements. A packet sees the old ones or the new ones.
    fn replace(&self, elements: &Bound<'_, PyAny>) -> PyResult<()> {
        let items = self.items(elements, Wanted::All)?;
        self.change_long(elements.py(), |writer| writer.replace(items))
    }

    /// `replace` with the lines of a file; `name` is the file's name, for errors.
    fn replace_lines(&self, py: Python<'_>, text: &str, name: &str) -> PyResult<()> {
        let shape = self.set.shape();
        let items = py.detach(|| from_lines(shape, text)).map_err(|unread| match unread {
            Unread::Line(number, line, wrong) => {
                let (what, hint) = describe(shape, &format!("{line:?}"), wrong);
                errors::make(py, "OptionError", &format!("{name}, line {number}: {what}"), &hint)
            }
            Unread::Memory => refusal(py, Error::Memory),
        })?;
        self.change_long(py, |writer| writer.replace(items))
    }

    /// Becomes the set of all keys in these inclusive ranges, which are ascending and disjoint. For good.
    fn fix(&self, py: Python<'_>, ranges: Vec<(u128, u128)>) -> PyResult<()> {
        self.change_long(py, |writer| writer.fix(&ranges))
    }

    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let none = Items::new(self.set.shape());
        self.change_long(py, |writer| writer.replace(none))
    }

    /// The elements, ascending: ports as int, all others as str.
    fn elements<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let family = self.set.shape().family();
        let items = self.look(py, |writer| writer.items())?;
        room_for(items.len().saturating_mul(OBJECT)).map_err(|error| refusal(py, error))?;
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

    /// The elements, one on each line.
    fn lines(&self, py: Python<'_>) -> PyResult<String> {
        let family = self.set.shape().family();
        let items = self.look(py, |writer| writer.items())?;
        room_for(items.len().saturating_mul(2 * LINE)).map_err(|error| refusal(py, error))?;
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
    /// A place among the readers, for native code. Hold it while the code runs, with the GIL or without it the whole
    /// time.
    pub fn reader(&self) -> Reader {
        self.set.read()
    }

    /// A change that is mostly quick. The GIL is released only if it is not.
    fn change<T: Send>(
        &self,
        py: Python<'_>,
        change: impl Fn(&mut dyn Writer) -> Result<T, Error> + Send + Sync,
    ) -> PyResult<T> {
        let result = match self.set.change_now(&change) {
            Err(Error::Busy) => py.detach(|| self.set.change(change)),
            result => result,
        };
        result.map_err(|error| match error {
            Error::Full { capacity, .. } => {
                let what = format!("the set is full: it holds {} of {capacity} elements", self.set.len());
                errors::make(py, "OptionError", &what, MORE)
            }
            error => refusal(py, error),
        })
    }

    fn change_long<T: Send>(
        &self,
        py: Python<'_>,
        change: impl FnOnce(&mut dyn Writer) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        py.detach(|| self.set.change(change))
            .map_err(|error| refusal(py, error))
    }

    fn look<T: Send>(&self, py: Python<'_>, look: impl FnOnce(&dyn Writer) -> Result<T, Error> + Send) -> PyResult<T> {
        py.detach(|| self.set.look(look).and_then(|found| found)).map_err(|error| match error {
            Error::Forked => errors::make(
                py,
                "Closed",
                "the set was being changed at the moment when this process was forked: its elements are not known here",
                "fork while no other thread changes it",
            ),
            error => refusal(py, error),
        })
    }

    fn item(&self, element: &Bound<'_, PyAny>) -> PyResult<Item> {
        elements::item(self.set.shape(), self.numbers, element)
    }

    /// The elements, whatever gives them: it may say a wrong number of them, or never end. So no more are kept than
    /// twice what the set can hold; then repetitions go, and what is left has to fit.
    fn items(&self, elements: &Bound<'_, PyAny>, wanted: Wanted) -> PyResult<Items> {
        if elements.is_instance_of::<PyString>() || elements.is_instance_of::<PyBytes>() {
            let what = format!("{} is one element, where many are expected", errors::short(elements));
            return Err(errors::make(elements.py(), "OptionError", &what, "put it in a list"));
        }
        let py = elements.py();
        let most = FEW.max(2 * self.set.shape().capacity());
        let mut items = Items::new(self.set.shape());
        let each = elements
            .try_iter()
            .map_err(|_| errors::option(py, &format!("elements={}: not a list", errors::short(elements))))?;
        for (count, element) in each.enumerate() {
            if count % FEW == FEW - 1 {
                py.check_signals()?; // an iterator made in C may never end, and runs no handlers
            }
            items.push(self.item(&element?)?).map_err(|error| refusal(py, error))?;
            if items.len() >= most {
                self.make_fewer(py, &mut items, wanted)?;
            }
        }
        Ok(items)
    }

    fn make_fewer(&self, py: Python<'_>, items: &mut Items, wanted: Wanted) -> PyResult<()> {
        let capacity = self.set.shape().capacity();
        if wanted == Wanted::Present {
            self.look(py, |writer| {
                items.retain(|item| writer.contains(item));
                Ok(())
            })?;
        }
        py.detach(|| items.make_distinct());
        if items.len() > capacity {
            let wanted = items.len();
            return Err(refusal(py, Error::Full { wanted, capacity }));
        }
        Ok(())
    }
}

/// Which elements matter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    /// Those that are in the set.
    Present,
}

/// So many elements are kept in any case, and between two looks for signals.
const FEW: usize = 1 << 16;
/// At most so many bytes has an element as an object of Python, with its place in a list; and as a line.
const OBJECT: usize = 128;
const LINE: usize = 48;

const MORE: &str = "make it with more capacity=";

fn refusal(py: Python<'_>, error: Error) -> PyErr {
    match error {
        Error::Full { wanted, capacity } => {
            let what = format!("{wanted} elements do not fit into a set with capacity {capacity}");
            errors::make(py, "OptionError", &what, MORE)
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
        Error::Memory => PyMemoryError::new_err("there is not enough memory to change or to read the set"),
        Error::Busy => errors::option(py, "the set is busy"),
    }
}

/// The address of a set's memory, valid while it is entered.
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
