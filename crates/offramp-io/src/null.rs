// SPDX-License-Identifier: Apache-2.0
//! `null:` a port whose other side is this process: every frame lent for receiving is a packet at once, every packet sent is gone at
//! once. It costs nothing but the framework, which is what it measures; and it lets applications be tested without a network.

use offramp_ring::{Consumer, Descriptor, Frame, Heap, Packet, Pool, Producer, Queue, Rings, pair};

use crate::error::Error;
use crate::port::Port;

/// Where an arriving packet begins in its frame: the room that XDP leaves (`XDP_PACKET_HEADROOM`).
const HEADROOM: u32 = 256;

pub struct Null {
    queue: Queue,
    lengths: Box<[u32]>,
    frame_size: u64,
    fill: Consumer<u64>,
    rx: Producer<Descriptor>,
    tx: Consumer<Descriptor>,
    completion: Producer<u64>,
}

impl Null {
    /// A port on which `templates` arrive in turn, for ever. They are written to the frames once, here; a frame that the
    /// application changes stays changed.
    ///
    /// # Errors
    /// [`Error::Unsendable`] naming the template that does not fit a frame.
    pub fn open(templates: &[&[u8]], frames: u32, frame_size: u32, ring: u32) -> Result<Self, Error> {
        let (pool, mut free) = Pool::new(Box::new(Heap::new(frames as usize * frame_size as usize)), frame_size);
        let mut lengths = vec![0; frames as usize];
        let mut tokens: Vec<Frame> = Vec::with_capacity(free.len());
        while let Some(frame) = free.pop() {
            let row = tokens.len();
            let Some(template) = (!templates.is_empty()).then(|| templates[row % templates.len()]) else {
                tokens.push(frame);
                continue;
            };
            let mut packet: Packet =
                pool.packet(frame, HEADROOM, template.len() as u32)
                    .map_err(|_| Error::Unsendable {
                        row: row % templates.len(),
                    })?;
            pool.bytes_mut(&mut packet).copy_from_slice(template);
            lengths[(pool.address(&packet) / u64::from(frame_size)) as usize] = template.len() as u32;
            tokens.push(packet.into_frame());
        }
        tokens.reverse();
        let (fill, lent) = pair(ring, 0);
        let (arriving, rx) = pair(ring, 0);
        let (tx, leaving) = pair(ring, 0);
        let (done, completion) = pair(ring, 0);
        let rings = Rings {
            fill,
            rx,
            tx,
            completion,
        };
        Ok(Self {
            queue: Queue::new(pool, tokens, rings),
            lengths: if templates.is_empty() {
                Box::default()
            } else {
                lengths.into()
            },
            frame_size: frame_size.into(),
            fill: lent,
            rx: arriving,
            tx: leaving,
            completion: done,
        })
    }
}

impl Port for Null {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn queue_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }

    fn kick_tx(&mut self) -> Result<(), Error> {
        let mut done = self.completion.reserve(usize::MAX);
        let mut sent = self.tx.peek(done.remaining());
        for descriptor in sent.by_ref() {
            done.put(descriptor.address);
        }
        sent.release();
        done.submit();
        Ok(())
    }

    fn kick_rx(&mut self) -> Result<(), Error> {
        if self.lengths.is_empty() {
            return Ok(());
        }
        let mut arrived = self.rx.reserve(usize::MAX);
        let mut lent = self.fill.peek(arrived.remaining());
        for address in lent.by_ref() {
            let length = self.lengths[(address / self.frame_size) as usize];
            arrived.put(Descriptor {
                address: address + u64::from(HEADROOM),
                length,
                options: 0,
            });
        }
        lent.release();
        arrived.submit();
        Ok(())
    }

    fn pollable(&self) -> Option<i32> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn templates_arrive_in_turn_and_packets_sent_are_done() {
        let port: &mut dyn Port = &mut Null::open(&[b"one", b"second"], 64, 2048, 32).unwrap();
        for _ in 0..100 {
            let mut burst = port.receive(256).unwrap();
            assert!(burst.len() >= 16);
            assert!(matches!(burst.bytes(0).unwrap(), b"one" | b"second"));
            assert_ne!(burst.bytes(0), burst.bytes(1));
            assert_eq!(port.transmit(&mut burst, &[1, 0], Instant::now()), Ok(2));
        }
        assert_eq!(port.flush(Instant::now()), Ok(0));
        assert_eq!(port.queue().sent(), (200, 200));
        assert_eq!(port.queue().strays(), 0);
    }

    #[test]
    fn without_templates_nothing_arrives() {
        let port: &mut dyn Port = &mut Null::open(&[], 64, 2048, 32).unwrap();
        assert_eq!(port.receive(256).unwrap().len(), 0);
        assert_eq!(port.send(&[b"gone"], Instant::now()), Ok(1));
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let port: &mut dyn Port = &mut Null::open(&[b"one"], 64, 2048, 32).unwrap();
        assert_eq!(
            port.send(&[&[0; 100], &[0; 4000]], Instant::now()),
            Err(Error::Unsendable { row: 1 })
        );
        let mut burst = port.receive(256).unwrap();
        assert_eq!(
            port.transmit(&mut burst, &[2, 1, 2], Instant::now()),
            Err(Error::Unsendable { row: 2 })
        );
        assert_eq!(port.transmit(&mut burst, &[0], Instant::now()), Ok(1));
        assert_eq!(
            port.transmit(&mut burst, &[1, 0], Instant::now()),
            Err(Error::Unsendable { row: 0 })
        );
        assert_eq!(
            port.transmit(&mut burst, &[999], Instant::now()),
            Err(Error::Unsendable { row: 999 })
        );
    }
}
