// SPDX-License-Identifier: Apache-2.0
//! `faults,drop=0.1,seed=7+...` does to packets what networks do to them, and to calls what systems do. A port around
//! any port.
//!
//! Chance comes from a seed (splitmix64), so whatever happened once happens again. Faults meet received packets, each
//! with its own probability, in this order: `drop`, `corrupt` (one bit), `truncate` (its length on the wire stays),
//! `duplicate` (both show one frame, and can be sent but not changed), `reorder` (with the packet before it). With
//! `short`, a call that sends accepts only some of what it is given. With `error=N`, the Nth call that receives or
//! sends fails with EIO; the calls before and after do not.

use std::time::Instant;

use offramp_ring::{BURST, Burst};

use super::around::{Around, wrapped};
use super::kind::Wrapper;
use super::options::{Options, Setting};
use super::values::{Number, Probability};
use crate::error::Error;
use crate::port::Queues;
use crate::port_queue::PortQueue;

pub const WRAPPER: Wrapper = Wrapper {
    name: "faults",
    about: "drops, corrupts, truncates, duplicates and reorders received packets, sends less, and fails, by chance \
            from a seed",
    options: &[&DROP, &CORRUPT, &TRUNCATE, &DUPLICATE, &REORDER, &SHORT, &ERROR, &SEED],
    wrap,
};

const DROP: Setting<Probability> = Setting::new("drop", Probability, "how often a packet is lost");
const CORRUPT: Setting<Probability> = Setting::new("corrupt", Probability, "how often one bit of a packet is turned");
const TRUNCATE: Setting<Probability> = Setting::new("truncate", Probability, "how often a packet is cut");
const DUPLICATE: Setting<Probability> = Setting::new("duplicate", Probability, "how often a packet comes twice");
const REORDER: Setting<Probability> = Setting::new(
    "reorder",
    Probability,
    "how often a packet changes places with the one before it",
);
const SHORT: Setting<Probability> = Setting::new(
    "short",
    Probability,
    "how often a call that sends takes only some packets",
);
const ERROR: Setting<Number> = Setting::new("error", ANY, "the number of the call that fails, or 0 for none");
const SEED: Setting<Number> = Setting::new("seed", ANY, "where chance begins");
const ANY: Number = Number {
    default: 0,
    least: 0,
    most: u32::MAX,
};

/// What may happen, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    pub drop: f64,
    pub corrupt: f64,
    pub truncate: f64,
    pub duplicate: f64,
    pub reorder: f64,
    pub short: f64,
    /// The number of the call that fails; 0: none.
    pub error: u32,
    pub seed: u32,
}

pub struct Faulty {
    faults: Faults,
    chance: Chance,
    calls: u32,
}

/// splitmix64: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// True with that probability. What never happens takes no random number, so that the other faults stay the same.
    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && (self.next() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn wrap(queues: Queues, options: &Options) -> Result<Queues, Error> {
    let faults = Faults {
        drop: options.get(&DROP)?,
        corrupt: options.get(&CORRUPT)?,
        truncate: options.get(&TRUNCATE)?,
        duplicate: options.get(&DUPLICATE)?,
        reorder: options.get(&REORDER)?,
        short: options.get(&SHORT)?,
        error: options.get(&ERROR)?,
        seed: options.get(&SEED)?,
    };
    Ok(wrapped(queues, |_| Faulty::new(faults)))
}

impl Faulty {
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self {
            faults,
            chance: Chance(faults.seed.into()),
            calls: 0,
        }
    }

    /// Counts a call, and fails it if its turn has come.
    fn call(&mut self) -> Result<(), Error> {
        self.calls = self.calls.wrapping_add(1);
        if self.calls == self.faults.error {
            return Err(Error::System {
                what: format!("call {} (a fault that was injected)", self.calls),
                errno: libc::EIO,
            });
        }
        Ok(())
    }

    /// How many of the given frames a call takes.
    fn taken(&mut self, given: usize) -> usize {
        if self.chance.happens(self.faults.short) {
            self.chance.below(given)
        } else {
            given
        }
    }

    fn strike(&mut self, burst: &mut Burst) {
        let (faults, chance) = (self.faults, &mut self.chance);
        let mut row = 0;
        while row < burst.len() {
            if chance.happens(faults.drop) {
                burst.remove(row);
                continue;
            }
            if chance.happens(faults.corrupt) {
                corrupt(burst, row, chance);
            }
            if chance.happens(faults.truncate) {
                let length = burst.bytes(row).map_or(0, <[u8]>::len);
                burst.truncate(row, chance.below(length));
            }
            if burst.len() < BURST && chance.happens(faults.duplicate) {
                burst.repeat(row);
                row += 1;
            }
            if row > 0 && chance.happens(faults.reorder) {
                burst.swap(row - 1, row);
            }
            row += 1;
        }
    }
}

/// Turns one bit of the packet.
fn corrupt(burst: &mut Burst, row: usize, chance: &mut Chance) {
    if let Some(bytes) = burst.bytes_mut(row).filter(|bytes| !bytes.is_empty()) {
        let place = chance.below(bytes.len() * 8);
        bytes[place / 8] ^= 1 << (place % 8);
    }
}

impl Around for Faulty {
    const NAME: &'static str = WRAPPER.name;

    fn receive(&mut self, queue: &mut dyn PortQueue, most: usize) -> Result<Burst, Error> {
        self.call()?;
        let mut burst = queue.receive(most)?;
        self.strike(&mut burst);
        Ok(burst)
    }

    fn transmit(
        &mut self,
        queue: &mut dyn PortQueue,
        burst: &mut Burst,
        rows: &[u16],
        deadline: Instant,
    ) -> Result<usize, Error> {
        self.call()?;
        let taken = self.taken(rows.len());
        queue.transmit(burst, &rows[..taken], deadline)
    }

    fn send(&mut self, queue: &mut dyn PortQueue, frames: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
        self.call()?;
        let taken = self.taken(frames.len());
        queue.send(&frames[..taken], deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::around::Wrapped;
    use crate::ports::memory::Memory;
    use crate::ports::null::Null;

    const MEMORY: Memory = Memory {
        frames: 256,
        frame_size: 2048,
        ring: 256,
    };

    fn faulty(templates: &[Box<[u8]>], repeat: bool, faults: Faults) -> impl PortQueue {
        let null = Null::open(templates, repeat, MEMORY).unwrap();
        Wrapped::new(Faulty::new(faults), Box::new(null))
    }

    fn arrived(faults: Faults) -> Vec<Vec<u8>> {
        let templates: Vec<Box<[u8]>> = (0..200_u8).map(|number| [number; 60].into()).collect();
        let mut port = faulty(&templates, false, faults);
        let burst = port.receive(BURST).unwrap();
        (0..burst.len()).map(|row| burst.bytes(row).unwrap().to_vec()).collect()
    }

    fn whole() -> Vec<Vec<u8>> {
        arrived(Faults::default())
    }

    #[test]
    fn without_faults_nothing_happens() {
        assert_eq!(whole(), (0..200_u8).map(|number| vec![number; 60]).collect::<Vec<_>>());
    }

    #[test]
    fn a_seed_decides_what_happens() {
        let drop = |seed| {
            arrived(Faults {
                drop: 0.3,
                seed,
                ..Faults::default()
            })
        };
        assert_eq!(drop(7), drop(7));
        assert_ne!(drop(7), drop(8));
        assert!((100..180).contains(&drop(7).len()));
        assert!(drop(7).is_sorted());
        assert!(
            arrived(Faults {
                drop: 1.0,
                ..Faults::default()
            })
            .is_empty()
        );
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let corrupted = arrived(Faults {
            corrupt: 0.5,
            ..Faults::default()
        });
        let bits = |(one, other): (&Vec<u8>, &Vec<u8>)| {
            let pairs = one.iter().zip(other);
            pairs.map(|(one, other)| (one ^ other).count_ones()).sum::<u32>()
        };
        let whole = whole();
        let turned: Vec<u32> = corrupted.iter().zip(&whole).map(bits).collect();
        assert!(turned.iter().all(|&bits| bits <= 1));
        assert!((60..140).contains(&turned.iter().sum::<u32>()));

        let truncated = arrived(Faults {
            truncate: 0.5,
            ..Faults::default()
        });
        assert!((60..140).contains(&truncated.iter().filter(|packet| packet.len() < 60).count()));

        let doubled = arrived(Faults {
            duplicate: 0.2,
            ..Faults::default()
        });
        assert!((210..=BURST).contains(&doubled.len()));
        let mut once = doubled.clone();
        once.dedup();
        assert_eq!(once, whole);

        let mut mixed = arrived(Faults {
            reorder: 0.3,
            ..Faults::default()
        });
        assert_ne!(mixed, whole);
        mixed.sort();
        assert_eq!(mixed, whole);
    }

    #[test]
    fn a_packet_that_was_cut_has_its_length_on_the_wire() {
        let templates: Vec<Box<[u8]>> = vec![[1; 60].into()];
        let faults = Faults {
            truncate: 1.0,
            ..Faults::default()
        };
        let mut port = faulty(&templates, false, faults);
        let burst = port.receive(BURST).unwrap();
        assert!(burst.bytes(0).unwrap().len() < 60);
        assert_eq!(burst.wire_length(0), Some(60));
    }

    #[test]
    fn the_nth_call_fails_and_calls_are_short() {
        let faults = Faults {
            error: 2,
            short: 1.0,
            ..Faults::default()
        };
        let mut port = faulty(&[], true, faults);
        let frames = [&[0_u8; 60][..]; 10];
        assert!(port.send(&frames, Instant::now()).unwrap() < 10);
        let failed = port.receive(BURST).err().unwrap();
        assert!(matches!(failed, Error::System { errno: libc::EIO, .. }), "{failed}");
        assert!(port.send(&frames, Instant::now()).unwrap() < 10);
    }
}
