// SPDX-License-Identifier: Apache-2.0
//! Matches compiled to this machine's code: memory that is executable, and never writable again.
//!
//! The code comes from offramp's compiler, which runs in a process of its own. Nothing is linked: the code refers to
//! nothing outside itself.

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
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self {
            starts: Vec::with_capacity(count),
            captured: Vec::with_capacity(count),
            lengths: Vec::with_capacity(count),
        }
    }

    /// Appends a packet, `length` bytes long on the wire. Only its address is kept: see [`Code::run`].
    pub fn push(&mut self, packet: &[u8], length: u32) {
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
    /// What was pushed to `packets` stays alive, and nobody writes to it, until this returns. `sets` are the regions of
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
        let mut packets = Packets::with_capacity(2);
        packets.push(&[1, 2, 3], 3);
        packets.push(&[], 0);
        let mut verdicts = [7, 7];
        // SAFETY: the code touches nothing.
        unsafe { code.run(&packets, &[], &mut verdicts) };
        assert_eq!(verdicts, [7, 7]);
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
