// SPDX-License-Identifier: Apache-2.0
//! `null:` is a port whose other side is this process. Every frame lent for receiving becomes a packet at once; every
//! packet sent is gone at once. Its only cost is the framework, which is what it measures. It also lets applications be
//! tested without a network.

use offramp_ring::{Arrival, FarSide, Heap, Rings, joined};

use super::kind::{Kind, always};
use super::memory::{FRAME_SIZE, FRAMES, Memory, RING};
use super::options::{Options, Setting};
use super::values::{Flag, Number, Packets};
use crate::error::Error;
use crate::lengths::{Lengths, Unsendable};
use crate::port::Parts;
use crate::port_queue::{End, Facts, PortQueue, Timestamps};
use crate::ringed::{OtherSide, Ringed};

pub const KIND: Kind = Kind {
    name: "null",
    target: "",
    about: "in memory: the packets given arrive again and again, what is sent is gone",
    needs: "nothing",
    options: &[&PACKETS, &REPEAT, &QUEUES, &FRAMES, &FRAME_SIZE, &RING],
    usable: always,
    open,
};

const PACKETS: Setting<Packets> = Setting::new("packets", Packets, "what arrives on each queue, in turn");
const REPEAT: Setting<Flag> = Setting::new("repeat", Flag(true), "whether they arrive again and again, or once");
const QUEUES: Setting<Number> = Setting::new(
    "queues",
    Number {
        default: 1,
        least: 1,
        most: 1 << 10,
    },
    "how many queues it has",
);

/// A frame that no template was written to yet.
const UNWRITTEN: u32 = u32::MAX;

pub struct Null {
    far: FarSide,
    templates: Box<[Box<[u8]>]>,
    arriving: Arriving,
}

enum Arriving {
    /// Each template in turn, for ever. It is written to each frame once; if the application changes a frame, it stays
    /// changed. Here: the length in each frame.
    Repeated(Box<[u32]>),
    /// Each template once: the number of those that have arrived.
    Once(usize),
}

impl Null {
    /// A queue on which `templates` arrive in turn.
    ///
    /// # Errors
    /// [`Error::Unsendable`] naming the template that does not fit a frame.
    pub fn open(templates: &[Box<[u8]>], repeat: bool, memory: Memory) -> Result<Ringed<Self>, Error> {
        let region = Heap::new(memory.frames as usize * memory.frame_size as usize);
        let (queue, far) = joined(Box::new(region), memory.frame_size, memory.ring);
        let largest = far.arrivals.largest();
        for (row, template) in templates.iter().enumerate() {
            let (length, least) = (template.len(), 0);
            if length > largest as usize {
                let (most, mtu) = (largest, None);
                let why = Unsendable::Length {
                    length,
                    least,
                    most,
                    mtu,
                };
                return Err(Error::Unsendable { row, why });
            }
        }
        let arriving = if repeat {
            Arriving::Repeated(vec![UNWRITTEN; memory.frames as usize].into())
        } else {
            Arriving::Once(0)
        };
        let templates = templates.into();
        Ok(Ringed::new(
            queue,
            Self {
                far,
                templates,
                arriving,
            },
        ))
    }
}

fn open(_target: &str, options: &Options) -> Result<Parts, Error> {
    let (memory, repeat) = (Memory::of(options)?, options.get(&REPEAT)?);
    let templates: Vec<Box<[u8]>> = options.get(&PACKETS)?.into_iter().map(Into::into).collect();
    let queues: Result<Vec<_>, Error> = (0..options.get(&QUEUES)?)
        .map(|_| Null::open(&templates, repeat, memory).map(|queue| Box::new(queue) as Box<dyn PortQueue>))
        .collect();
    let queues = queues.map_err(|error| match error {
        Error::Unsendable { .. } => Error::option(format!("null: {error}"), "a larger frame_size, or smaller packets"),
        error => error,
    });
    Ok(Parts::new("null", queues?))
}

impl OtherSide for Null {
    fn kick_rx(&mut self, _rings: &Rings) -> Result<(), Error> {
        let templates = &self.templates;
        if templates.is_empty() {
            return Ok(());
        }
        match &mut self.arriving {
            Arriving::Repeated(lengths) => self.far.arrivals.deliver(|frame| {
                let length = &mut lengths[frame.index()];
                if *length == UNWRITTEN {
                    let template = &templates[frame.index() % templates.len()];
                    frame[..template.len()].copy_from_slice(template);
                    *length = template.len() as u32;
                }
                Some(Arrival::whole(*length))
            }),
            Arriving::Once(arrived) => self.far.arrivals.deliver(|frame| {
                let template = templates.get(*arrived)?;
                frame[..template.len()].copy_from_slice(template);
                *arrived += 1;
                Some(Arrival::whole(template.len() as u32))
            }),
        };
        Ok(())
    }

    fn kick_tx(&mut self, _rings: &Rings) -> Result<(), Error> {
        self.far.departures.drain(|_| true);
        Ok(())
    }

    fn pollable(&self) -> Option<i32> {
        None
    }

    fn facts(&self) -> Facts {
        Facts {
            kind: KIND.name,
            target: String::new(),
            modes: Vec::new(),
            timestamps: Timestamps::Poll,
            lengths: Lengths { room: 0, mtu: None },
            sends: true,
        }
    }

    fn ended(&self) -> Option<End> {
        match self.arriving {
            Arriving::Once(arrived) if arrived == self.templates.len() => Some(End::Exhausted),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const MEMORY: Memory = Memory {
        frames: 64,
        frame_size: 2048,
        ring: 32,
    };

    fn null(templates: &[&[u8]], repeat: bool) -> Ringed<Null> {
        let templates: Vec<Box<[u8]>> = templates.iter().map(|&template| template.into()).collect();
        Null::open(&templates, repeat, MEMORY).unwrap()
    }

    #[test]
    fn templates_arrive_in_turn_and_packets_sent_are_done() {
        let mut port = null(&[b"one", b"second"], true);
        for _ in 0..100 {
            let mut burst = port.receive(256).unwrap();
            assert!(burst.len() >= 16);
            assert!(matches!(burst.bytes(0).unwrap(), b"one" | b"second"));
            assert_ne!(burst.bytes(0), burst.bytes(1));
            assert_eq!(port.transmit(&mut burst, &[1, 0], Instant::now()), Ok(2));
        }
        assert_eq!(port.flush(Instant::now()), Ok(0));
        let counters = port.counters().unwrap();
        assert_eq!((counters.sent, counters.completed, counters.strays), (200, 200, 0));
        assert_eq!(port.ended(), None);
    }

    #[test]
    fn without_templates_nothing_arrives() {
        let mut port = null(&[], true);
        assert_eq!(port.receive(256).unwrap().len(), 0);
        assert_eq!(port.send(&[b"gone"], Instant::now()), Ok(1));
        assert_eq!(port.ended(), None);
    }

    #[test]
    fn each_arrives_once_and_then_it_ends() {
        let texts: Vec<String> = (0..100).map(|number| format!("packet {number}")).collect();
        let templates: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let mut port = null(&templates, false);
        let mut arrived = 0;
        while port.ended().is_none() {
            let burst = port.receive(30).unwrap();
            for row in 0..burst.len() {
                assert_eq!(burst.bytes(row).unwrap(), templates[arrived]);
                arrived += 1;
            }
        }
        assert_eq!(arrived, 100);
        assert_eq!(port.ended(), Some(End::Exhausted));
        let mut port = null(&[], false);
        assert_eq!(port.receive(30).unwrap().len(), 0);
        assert_eq!(port.ended(), Some(End::Exhausted));
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let mut port = null(&[b"one"], true);
        let long = port.send(&[&[0; 100], &[0; 4000]], Instant::now()).unwrap_err();
        assert_eq!(
            long.to_string(),
            "packet 1 has 4000 bytes, larger than a frame of the packet memory: not from 1 to 2048"
        );
        let mut burst = port.receive(256).unwrap();
        let gone = |row| {
            let why = Unsendable::SentAlready;
            Err(Error::Unsendable { row, why })
        };
        for (rows, expected) in [
            (&[2, 1, 2][..], gone(2)),
            (&[0], Ok(1)),
            (&[1, 0], gone(0)),
            (&[999], gone(999)),
        ] {
            assert_eq!(port.transmit(&mut burst, rows, Instant::now()), expected);
        }
    }
}
