// SPDX-License-Identifier: Apache-2.0
//! Matches compiled to this machine's code: memory that is executable, and never writable again.
//!
//! The code comes from offramp's compiler, which runs in a process of its own. Nothing is linked: the code refers to
//! nothing outside itself.

use offramp_ring::Burst;

use crate::error::Error;
use crate::sys::Mapping;

/// Whole packets or their captured parts, side by side, in the form that the code wants.
#[derive(Default)]
pub struct Packets {
    starts: Vec<*const u8>,
    captured: Vec<u32>,
    lengths: Vec<u32>,
}

impl Packets {
    /// Packets in memory, with their lengths on the wire; without `lengths` they are whole. Only addresses are kept:
    /// see [`Code::run`].
    ///
    /// # Errors
    /// If a packet has more bytes than its length, or there are not as many lengths as packets.
    pub fn of<'a>(packets: impl ExactSizeIterator<Item = &'a [u8]>, lengths: Option<&[u32]>) -> Result<Self, Error> {
        if lengths.is_some_and(|lengths| lengths.len() != packets.len()) {
            return Err(Error::option("as many lengths as packets are needed", ""));
        }
        let mut all = Self::with_capacity(packets.len());
        for (index, bytes) in packets.enumerate() {
            let length = lengths.map_or(bytes.len() as u32, |lengths| lengths[index]);
            if (length as usize) < bytes.len() {
                let what = format!(
                    "packet {index} has {} bytes, more than its length on the wire",
                    bytes.len()
                );
                return Err(Error::option(format!("{what}, {length}"), ""));
            }
            all.push(bytes, length);
        }
        Ok(all)
    }

    /// The packets at `rows` of a burst; `None` if one of them was sent.
    #[must_use]
    pub fn of_burst(burst: &Burst, rows: &[u16]) -> Option<Self> {
        let mut all = Self::with_capacity(rows.len());
        for &row in rows {
            all.push(burst.bytes(row.into())?, burst.wire_length(row.into())?);
        }
        Some(all)
    }

    fn with_capacity(count: usize) -> Self {
        Self {
            starts: Vec::with_capacity(count),
            captured: Vec::with_capacity(count),
            lengths: Vec::with_capacity(count),
        }
    }

    fn push(&mut self, packet: &[u8], length: u32) {
        self.starts.push(packet.as_ptr());
        self.captured.push(u32::try_from(packet.len()).unwrap_or(u32::MAX));
        self.lengths.push(length);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

/// `verdicts[i]` becomes the code's answer for packet `i`: a verdict, or whether it matches.
type Match = unsafe extern "C" fn(
    packets: *const *const u8,
    captured: *const u32,
    lengths: *const u32,
    count: u64,
    verdicts: *mut u8,
    sets: *const *const u8,
);

/// A match that this CPU can run.
pub struct Code {
    mapping: Mapping,
}

impl Code {
    /// # Safety
    /// `code` is machine code of this architecture for a [`Match`], with its entry at the start.
    ///
    /// # Errors
    /// If the system allows no executable memory (SELinux: execmem), or has none left.
    pub unsafe fn new(code: &[u8]) -> Result<Self, Error> {
        let mapping = Mapping::executable(code, "compiled code")?;
        Ok(Self { mapping })
    }

    /// Matches all packets.
    ///
    /// # Safety
    /// What `packets` was made of stays alive, and nobody writes to it, until this returns. `sets` are the regions of
    /// the match's sets, in its order, and stay in place.
    ///
    /// # Panics
    /// If there are not as many `verdicts` as `packets`.
    pub unsafe fn run(&self, packets: &Packets, sets: &[*const u8], verdicts: &mut [u8]) {
        assert_eq!(packets.len(), verdicts.len(), "one verdict for each packet");
        // SAFETY: by contract of `new`, this is such a function; a function pointer has the size of a data pointer.
        let run: Match = unsafe { std::mem::transmute(self.mapping.start().as_ptr()) };
        // SAFETY: the arrays have `len` elements each; packets and sets are alive by contract.
        unsafe {
            run(
                packets.starts.as_ptr(),
                packets.captured.as_ptr(),
                packets.lengths.as_ptr(),
                packets.len() as u64,
                verdicts.as_mut_ptr(),
                sets.as_ptr(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checking `verdicts[i] = packets[i][0] == lengths[i]` would need a compiler; "return at once" is one instruction.
    #[cfg(target_arch = "x86_64")]
    const RETURN: &[u8] = &[0xC3];
    #[cfg(target_arch = "aarch64")]
    const RETURN: &[u8] = &[0xC0, 0x03, 0x5F, 0xD6];

    #[test]
    fn code_runs_and_leaves_what_it_does_not_write() {
        // SAFETY: a function that returns.
        let code = unsafe { Code::new(RETURN) }.expect("executable memory");
        let packets = Packets::of([&[1, 2, 3][..], &[]].into_iter(), None).unwrap();
        let mut verdicts = [7, 7];
        // SAFETY: the code touches nothing.
        unsafe { code.run(&packets, &[], &mut verdicts) };
        assert_eq!(verdicts, [7, 7]);
    }

    #[test]
    fn a_packet_is_no_longer_than_it_was_on_the_wire() {
        let of = |lengths: &[u32]| Packets::of([&[1, 2, 3][..]].into_iter(), Some(lengths)).map(|all| all.lengths);
        assert_eq!(of(&[60]), Ok(vec![60]));
        let wrong = of(&[2]).unwrap_err().to_string();
        assert_eq!(wrong, "packet 0 has 3 bytes, more than its length on the wire, 2");
        assert_eq!(
            of(&[]).unwrap_err().to_string(),
            "as many lengths as packets are needed"
        );
    }

    #[test]
    #[should_panic(expected = "one verdict for each packet")]
    fn verdicts_must_be_as_many_as_packets() {
        // SAFETY: as above.
        let code = unsafe { Code::new(RETURN) }.expect("executable memory");
        // SAFETY: as above.
        unsafe { code.run(&Packets::default(), &[], &mut [0]) };
    }
}
