// SPDX-License-Identifier: Apache-2.0
//! `loop:` is a wire in memory: what is sent comes back. With `loop:NAME` it comes to the other end of that name, which
//! may be in another thread.
//!
//! ```text
//!   one end: tx ring ─> Departures ─┐ Direction::carry copies frames    ┌─> Arrivals ─> rx ring: the other end
//!                                   └────────── under its lock ─────────┘
//! ```
//!
//! The end that looks first carries. The sender carries when it kicks, so the receiver can sleep. The receiver carries
//! when it looks, for frames that found no room before. A frame that the other end has no room for stays in the tx
//! ring: nothing is lost, and the sender waits. What is sent to a closed end is gone.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use offramp_ring::{Arrivals, Departures, HEADROOM, Heap, Rings, joined};

use super::kind::{Kind, always};
use super::memory::{FRAME_SIZE, FRAMES, Memory, RING};
use super::options::Options;
use crate::error::Error;
use crate::lengths::Lengths;
use crate::port::Parts;
use crate::port_queue::{End, Facts, PortQueue, Timestamps};
use crate::ringed::{OtherSide, Ringed};
use crate::sys;

pub const KIND: Kind = Kind {
    name: "loop",
    target: "[NAME]",
    about: "in memory: what is sent comes back, or to the other end of that name in this process",
    needs: "nothing",
    options: &[&FRAMES, &FRAME_SIZE, &RING],
    usable: always,
    open,
};

/// One direction of a wire.
#[derive(Default)]
struct Direction {
    /// What was sent; `None` until that end is there. It stays when the end is closed: the rest can still be read.
    from: Option<Departures>,
    /// Where it arrives; `None` while that end is not there.
    to: Option<Arrivals>,
    from_closed: bool,
    to_closed: bool,
    /// What the reader sleeps on, and whether it was raised since the reader last looked.
    flag: Option<Arc<OwnedFd>>,
    raised: bool,
}

impl Direction {
    fn carry(&mut self) {
        let Some(from) = self.from.as_mut().filter(|from| !from.is_empty()) else {
            return;
        };
        match &mut self.to {
            Some(to) => {
                let now = Some(sys::clock(sys::REALTIME));
                if from.drain(|frame| to.copy(frame, now)) > 0 {
                    self.wake();
                }
            }
            None if self.to_closed => drop(from.drain(|_| true)),
            None => {}
        }
    }

    fn wake(&mut self) {
        if let Some(flag) = self.flag.as_ref().filter(|_| !self.raised) {
            sys::raise(flag.as_fd());
            self.raised = true;
        }
    }

    /// The reader is about to look.
    fn lower(&mut self) {
        if let Some(flag) = self.flag.as_ref().filter(|_| self.raised) {
            sys::lower(flag.as_fd());
            self.raised = false;
        }
    }

    fn has_ended(&self) -> bool {
        self.from_closed && self.from.as_ref().is_none_or(Departures::is_empty)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end of a wire.
pub struct Loop {
    name: String,
    outgoing: Arc<Mutex<Direction>>,
    incoming: Arc<Mutex<Direction>>,
    flag: Arc<OwnedFd>,
    ended: bool,
    /// The process that made it. A forked child has copies of locks that nobody will ever release.
    process: u64,
}

/// A wire that has a name.
struct Wire {
    /// What its second end sends to and receives from; `None` once there is a second end.
    second: Option<[Arc<Mutex<Direction>>; 2]>,
    open: usize,
}

static WIRES: Mutex<BTreeMap<String, Wire>> = Mutex::new(BTreeMap::new());

impl Loop {
    /// An end of the wire of that name, which exists as long as one of its ends does; without a name, both ends in one.
    ///
    /// # Errors
    /// If both ends of that name were opened already.
    pub fn open(name: &str, memory: Memory) -> Result<Ringed<Self>, Error> {
        if name.is_empty() {
            let both = Arc::default();
            return Self::attach(name, Arc::clone(&both), both, memory);
        }
        let mut wires = lock(&WIRES);
        if let Some(wire) = wires.get_mut(name) {
            let [outgoing, incoming] = wire.second.clone().ok_or_else(|| {
                Error::option(
                    format!("loop:{name}: both ends of it were opened, and there is no third"),
                    "another name; this one is free again when both are closed",
                )
            })?;
            let end = Self::attach(name, outgoing, incoming, memory)?;
            (wire.second, wire.open) = (None, 2);
            return Ok(end);
        }
        let (outgoing, incoming) = (Arc::default(), Arc::default());
        let end = Self::attach(name, Arc::clone(&outgoing), Arc::clone(&incoming), memory)?;
        let second = Some([incoming, outgoing]);
        wires.insert(name.to_owned(), Wire { second, open: 1 });
        Ok(end)
    }

    fn attach(
        name: &str,
        outgoing: Arc<Mutex<Direction>>,
        incoming: Arc<Mutex<Direction>>,
        memory: Memory,
    ) -> Result<Ringed<Self>, Error> {
        let flag = Arc::new(sys::eventfd()?);
        let region = Heap::new(memory.frames as usize * memory.frame_size as usize);
        let (queue, far) = joined(Box::new(region), memory.frame_size, memory.ring);
        let largest = far.arrivals.largest();
        if largest == 0 {
            let what = format!("frame_size={}: no room for a packet", memory.frame_size);
            return Err(Error::option(what, format!("{HEADROOM} bytes of a frame are headroom")));
        }
        let queue = queue.with_largest(largest);
        lock(&outgoing).from = Some(far.departures);
        {
            let mut incoming = lock(&incoming);
            (incoming.to, incoming.flag) = (Some(far.arrivals), Some(Arc::clone(&flag)));
        }
        let end = Self {
            name: name.to_owned(),
            outgoing,
            incoming,
            flag,
            ended: false,
            process: sys::process(),
        };
        Ok(Ringed::new(queue, end))
    }
}

fn open(target: &str, options: &Options) -> Result<Parts, Error> {
    let end = Loop::open(target, Memory::of(options)?)?;
    let queues: Vec<Box<dyn PortQueue>> = vec![Box::new(end)];
    Ok(Parts::new(format!("loop:{target}"), queues))
}

impl OtherSide for Loop {
    fn kick_rx(&mut self, _rings: &Rings) -> Result<(), Error> {
        let mut incoming = lock(&self.incoming);
        incoming.lower();
        incoming.carry();
        self.ended = incoming.has_ended();
        Ok(())
    }

    fn kick_tx(&mut self, _rings: &Rings) -> Result<(), Error> {
        lock(&self.outgoing).carry();
        Ok(())
    }

    fn pollable(&self) -> Option<i32> {
        Some(self.flag.as_raw_fd())
    }

    fn facts(&self) -> Facts {
        Facts {
            kind: KIND.name,
            target: self.name.clone(),
            modes: Vec::new(),
            timestamps: Timestamps::Software,
            lengths: Lengths { room: 0, mtu: None },
            sends: true,
        }
    }

    fn ended(&self) -> Option<End> {
        self.ended.then_some(End::PeerClosed)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if sys::process() != self.process {
            return;
        }
        {
            let mut outgoing = lock(&self.outgoing);
            outgoing.from_closed = true;
            outgoing.carry();
            outgoing.wake();
        }
        {
            let mut incoming = lock(&self.incoming);
            (incoming.to, incoming.to_closed, incoming.flag) = (None, true, None);
        }
        let mut wires = lock(&WIRES);
        if let Some(wire) = wires.get_mut(&self.name) {
            wire.open -= 1;
            if wire.open == 0 {
                wires.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const MEMORY: Memory = Memory {
        frames: 16,
        frame_size: 2048,
        ring: 8,
    };

    fn end(name: &str) -> Ringed<Loop> {
        Loop::open(name, MEMORY).unwrap()
    }

    fn read(queue: &mut impl PortQueue) -> Vec<Vec<u8>> {
        let burst = queue.receive(256).unwrap();
        (0..burst.len()).map(|row| burst.bytes(row).unwrap().to_vec()).collect()
    }

    #[test]
    fn what_is_sent_comes_back_in_order_with_its_time() {
        let mut port = end("");
        let before = sys::clock(sys::REALTIME);
        for turn in 0..50_u8 {
            assert_eq!(port.receive(0).unwrap().len(), 0, "lends frames");
            assert_eq!(port.send(&[&[turn], &[turn, 2]], Instant::now()), Ok(2));
            let burst = port.receive(256).unwrap();
            assert_eq!(
                (burst.bytes(0), burst.bytes(1)),
                (Some(&[turn][..]), Some(&[turn, 2][..]))
            );
            assert!((before..=sys::clock(sys::REALTIME)).contains(&burst.timestamp(1).unwrap()));
            assert_eq!(burst.wire_length(1), Some(2));
        }
        assert_eq!(port.ended(), None);
    }

    #[test]
    fn two_ends_and_no_third() {
        let (mut one, mut other) = (end("two"), end("two"));
        let third = Loop::open("two", MEMORY).err().unwrap();
        assert_eq!(
            third.to_string(),
            "loop:two: both ends of it were opened, and there is no third"
        );
        one.send(&[b"to the other"], Instant::now()).unwrap();
        other.send(&[b"and back"], Instant::now()).unwrap();
        assert_eq!(read(&mut other), [b"to the other"]);
        assert_eq!(read(&mut one), [b"and back"]);
        drop(one);
        assert!(Loop::open("two", MEMORY).is_err(), "one end of it is open");
        let frame_size = 256;
        assert!(
            Loop::open("", Memory { frame_size, ..MEMORY }).is_err(),
            "all of it is headroom"
        );
        drop(other);
        drop(end("two"));
        let _first_again = end("two");
    }

    #[test]
    fn what_is_left_is_read_and_then_it_ends() {
        let (mut one, mut other) = (end("left"), end("left"));
        let frames: Vec<[u8; 1]> = (0..8).map(|number| [number]).collect();
        let frames: Vec<&[u8]> = frames.iter().map(<[u8; 1]>::as_slice).collect();
        assert_eq!(one.send(&frames, Instant::now()), Ok(8));
        drop(one);
        let mut left = Vec::new();
        while other.ended().is_none() {
            left.append(&mut read(&mut other));
        }
        assert_eq!(left, frames);
        assert_eq!(other.ended(), Some(End::PeerClosed));
        assert_eq!(other.send(&[b"to nobody"], Instant::now()), Ok(1));
        assert_eq!(other.flush(Instant::now()), Ok(0));
    }

    #[test]
    fn a_slow_reader_makes_the_writer_wait_and_nothing_is_lost() {
        let (mut one, mut other) = (end("slow"), end("slow"));
        let mut accepted = 0;
        while one.send(&[&[accepted]], Instant::now()) == Ok(1) {
            accepted += 1;
        }
        assert!(accepted >= 8, "a ring of frames");
        let mut read_so_far = Vec::new();
        while read_so_far.len() < accepted.into() {
            read_so_far.append(&mut read(&mut other));
            one.flush(Instant::now()).unwrap();
        }
        assert!(read_so_far.iter().map(|frame| frame[0]).eq(0..accepted));
        let counters = one.counters().unwrap();
        assert_eq!((counters.sent, counters.completed), (accepted.into(), accepted.into()));
    }

    #[test]
    fn frames_are_cut_to_what_the_other_end_holds() {
        let small = Memory {
            frame_size: 512,
            ..MEMORY
        };
        let (mut one, mut other) = (end("cut"), Loop::open("cut", small).unwrap());
        other.receive(0).unwrap();
        let largest = one.facts().lengths.most() as usize;
        assert_eq!(largest, 2048 - HEADROOM as usize);
        assert!(one.send(&[&vec![1; largest + 1]], Instant::now()).is_err());
        one.send(&[&vec![1; largest]], Instant::now()).unwrap();
        let burst = other.receive(256).unwrap();
        assert_eq!(burst.bytes(0).unwrap().len(), 512 - HEADROOM as usize);
        assert_eq!(burst.wire_length(0), Some(largest as u32));
    }

    #[test]
    fn a_sleeper_is_woken_by_packets_and_by_the_end() {
        let (mut one, mut other) = (end("sleep"), end("sleep"));
        let fd = other.pollable().unwrap();
        let readable = |time| sys::poll_readable(&[fd], time).unwrap()[0];
        assert!(read(&mut other).is_empty());
        assert!(!readable(Duration::ZERO));
        one.send(&[b"wake"], Instant::now()).unwrap();
        assert!(readable(Duration::from_secs(10)));
        assert_eq!(read(&mut other), [b"wake"]);
        assert!(!readable(Duration::ZERO));
        let closing = std::thread::spawn(move || drop(one));
        assert!(readable(Duration::from_secs(10)));
        closing.join().unwrap();
    }
}
