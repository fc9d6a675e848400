// SPDX-License-Identifier: Apache-2.0
//! Compiled matches, run on packets that Python has.

use offramp_io::Packets;
use offramp_state::Reader;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::burst::Burst;
use crate::sets::SetCore;
use crate::{elements, errors};

/// The machine code of a match.
#[pyclass(frozen, module = "offramp._native")]
pub struct Code(offramp_io::Code);

#[pymethods]
impl Code {
    /// `code` has to come from `offramp.llvm.programs.native`, and from nowhere else: it runs without a check.
    #[new]
    fn new(py: Python<'_>, code: &[u8]) -> PyResult<Self> {
        // SAFETY: by the caller's word, as above.
        let code = unsafe { offramp_io::Code::new(code) };
        code.map(Self).map_err(|error| errors::raise(py, "a match", error))
    }

    /// Writes the code's answer for each of `packets` into `verdicts`, which has the same length.
    fn run(
        &self,
        py: Python<'_>,
        packets: &Bound<'_, PyAny>,
        lengths: Option<&Bound<'_, PyAny>>,
        verdicts: PyBuffer<u8>,
        sets: Vec<PyRef<'_, SetCore>>,
    ) -> PyResult<()> {
        let each = packets.try_iter()?.enumerate();
        let owners = each
            .map(|(index, packet)| Owner::new(index, packet?))
            .collect::<PyResult<Vec<_>>>()?;
        let lengths = lengths.map(on_wire).transpose()?;
        let all = Packets::of(owners.iter().map(Owner::memory), lengths.as_deref());
        let all = all.map_err(|error| errors::raise(py, "a match", error))?;
        self.decide(py, &all, &verdicts, &sets)
    }

    /// As `run`, for the packets of a burst.
    fn run_burst(
        &self,
        py: Python<'_>,
        burst: &Burst,
        verdicts: PyBuffer<u8>,
        sets: Vec<PyRef<'_, SetCore>>,
    ) -> PyResult<()> {
        let packets = burst.packets();
        let all = Packets::of_burst(&packets, burst.rows());
        let all = all.ok_or_else(|| errors::option(py, "the batch has packets that were sent: match it before"))?;
        self.decide(py, &all, &verdicts, &sets)
    }
}

impl Code {
    /// `sets`: the sets of the match, in its order. It keeps the GIL, because it takes only microseconds.
    fn decide(
        &self,
        py: Python<'_>,
        packets: &Packets,
        verdicts: &PyBuffer<u8>,
        sets: &[PyRef<'_, SetCore>],
    ) -> PyResult<()> {
        let readers: Vec<_> = sets.iter().map(|set| set.reader()).collect();
        let memories: Vec<_> = readers.iter().map(Reader::start).collect();
        let mut decided = vec![0; packets.len()];
        // SAFETY: the callers hold what the packets were made of; bytes objects and exported buffers stay in place, and
        // so does the memory of sets that are being read.
        unsafe { self.0.run(packets, &memories, &mut decided) };
        verdicts.copy_from_slice(py, &decided)
    }
}

/// Lengths of packets, in bytes.
fn on_wire(lengths: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    let py = lengths.py();
    let each = lengths
        .try_iter()
        .map_err(|_| errors::option(py, &format!("lengths={}: not a list", errors::short(lengths))))?;
    each.enumerate()
        .map(|(index, length)| {
            let length = length?;
            let bytes = elements::number(&length).and_then(|number| u32::try_from(number).ok());
            bytes.ok_or_else(|| {
                let what = format!("lengths[{index}]={}: not a number of bytes", errors::short(&length));
                errors::option(py, &what)
            })
        })
        .collect()
}

/// What keeps a packet's bytes in place.
enum Owner<'py> {
    Bytes(Bound<'py, PyBytes>),
    Buffer(PyBuffer<u8>),
}

impl<'py> Owner<'py> {
    fn new(index: usize, packet: Bound<'py, PyAny>) -> PyResult<Self> {
        let packet = match packet.cast_into::<PyBytes>() {
            Ok(bytes) => return Ok(Self::Bytes(bytes)),
            Err(other) => other.into_inner(),
        };
        let (what, hint) = match PyBuffer::get(&packet) {
            Ok(buffer) if buffer.is_c_contiguous() => return Ok(Self::Buffer(buffer)),
            Ok(_) => ("memory that is not contiguous", "bytes(packet) is a copy that is"),
            Err(_) => (
                "no memory of bytes",
                "bytes, bytearray, memoryview or a NumPy array of uint8",
            ),
        };
        let what = format!("packet {index}, a {}, is {what}", packet.get_type().name()?);
        Err(errors::make(packet.py(), "OptionError", &what, hint))
    }

    fn memory(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.as_bytes(),
            // SAFETY: contiguous bytes, exported until the buffer is dropped; if somebody writes them meanwhile, the
            // answer is about the old bytes or the new ones.
            Self::Buffer(buffer) if buffer.len_bytes() > 0 => unsafe {
                std::slice::from_raw_parts(buffer.buf_ptr().cast(), buffer.len_bytes())
            },
            Self::Buffer(_) => &[],
        }
    }
}
