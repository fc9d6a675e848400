// SPDX-License-Identifier: Apache-2.0
//! AF_XDP: frames of one receive queue of one interface, redirected to a socket by an XDP program.
//!
//! Documentation/networking/af_xdp.rst. Each socket has its own umem. So queues share nothing, and each can have its
//! own thread. Needs `CAP_NET_RAW`; memory counts against `RLIMIT_MEMLOCK` unless the process has `CAP_IPC_LOCK`. Linux
//! 5.4 for need_wakeup.
//!
//! The order matters: rings, then a filled fill ring, then bind (a zero-copy driver that finds the fill ring empty at
//! bind may never look again). That `bind` succeeds does not tell the mode: `XDP_OPTIONS` does.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libc::{
    SOL_XDP, XDP_COPY, XDP_MMAP_OFFSETS, XDP_OPTIONS, XDP_OPTIONS_ZEROCOPY, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_RX_RING, XDP_STATISTICS, XDP_TX_RING, XDP_UMEM_COMPLETION_RING, XDP_UMEM_FILL_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XDP_UMEM_REG, XDP_USE_NEED_WAKEUP, XDP_ZEROCOPY,
};
use offramp_ring::{Consumer, Descriptor, Pool, Producer, Queue, Region, RingMemory, Rings};

use super::kind::Kind;
use super::memory::{FRAMES, Memory, RING};
use super::options::{Options, Setting};
use super::values::{Choice, Number, Numbers, PowerOfTwo};
use crate::counters::Counters;
use crate::error::Error;
use crate::events::Events;
use crate::heartbeat::{Heartbeat, Heartbeats};
use crate::lengths::{Lengths, Mtu};
use crate::link::Link;
use crate::port::{NAP, Parts};
use crate::port_queue::{Facts, Timestamps};
use crate::ringed::{OtherSide, Ringed};
use crate::sys::{self, Kicked, Mapping, get_option, set_option};

pub const KIND: Kind = Kind {
    name: "af_xdp",
    target: "IFACE",
    about: "bare AF_XDP sockets: they send at once, and receive what an XDP program redirects to them",
    needs: "CAP_NET_RAW; Linux 5.4",
    options: &[&QUEUE, &COPYING, &FRAMES, &FRAME_SIZE, &RING],
    usable,
    open,
};

const QUEUE: Setting<Numbers> = Setting::new(
    "queue",
    Numbers(Number {
        default: 0,
        least: 0,
        most: 1 << 16,
    }),
    "a receive queue of the interface; given again, one more",
);
/// The kernel takes chunks of 2048 bytes to a page (`xdp_umem_reg` in net/xdp/xdp_umem.c).
const FRAME_SIZE: Setting<PowerOfTwo> = Setting::new(
    "frame_size",
    PowerOfTwo {
        default: 2048,
        least: 2048,
        most: if cfg!(target_arch = "x86_64") { 4096 } else { 1 << 16 },
    },
    "bytes of each frame",
);
pub const COPYING: Setting<Choice<Copying>> = Setting::new(
    "copying",
    Choice(&[
        ("auto", Copying::Auto),
        ("copy", Copying::Copy),
        ("zero-copy", Copying::Zero),
    ]),
    "whether the kernel copies packets; auto: only if the driver cannot do without",
);

/// Bind returns EBUSY while the kernel is still tearing down a socket that was closed on this queue a moment ago.
const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// Who copies the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    /// Zero-copy if the driver supports it, else a copy by the kernel.
    Auto,
    /// A copy by the kernel.
    Copy,
    /// The driver writes to the umem; bind fails with EOPNOTSUPP if it cannot.
    Zero,
}

/// What to bind to, and how much memory each socket gets.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    pub interface: &'a str,
    pub ifindex: u32,
    pub queues: &'a [u32],
    /// Those of them that can send; `None`: the driver is asked.
    pub sending: Option<&'a [u32]>,
    /// `frame_size` is a power of two from 2048 to the page size.
    pub memory: Memory,
    pub copying: Copying,
}

/// An AF_XDP socket, with its heartbeat if a program checks one.
pub struct AfXdp {
    interface: String,
    heartbeat: Option<Heartbeat>,
    zero_copy: bool,
    mtu: Mtu,
    /// Whether there is a transmit queue of its number: to others the kernel pays no attention.
    sends: bool,
    /// Frames that the kernel took from the tx ring, and the interface dropped.
    dropped: u64,
    socket: OwnedFd,
}

/// A socket on each queue of an interface, and a watch on the interface.
///
/// `heartbeats`: if a program checks whether the readers of the queues live.
pub fn assemble(binding: &Binding<'_>, heartbeats: Option<Heartbeats<'_>>) -> Result<Parts, Error> {
    let events = Arc::<Events>::default();
    // The watch starts before the sockets are bound, so that no change is missed.
    let link = Link::watch(binding.ifindex as i32, Arc::clone(&events))?;
    let mut parts = Parts::new(binding.interface, Vec::new());
    let mut hearts = match heartbeats {
        Some(with) => {
            // Four beats in the time after which the program gives up on us.
            parts.nap = with.stall.map_or(NAP, |stall| NAP.min(stall / 4));
            Heartbeat::map(with, binding.queues, &events)?
        }
        None => Vec::new(),
    };
    parts.pulses = hearts.iter().map(Heartbeat::pulse).collect();
    let mut hearts = hearts.drain(..);
    let transmit_queues = match binding.sending {
        Some(_) => None,
        None => sys::transmit_queues(link.socket(), binding.interface),
    };
    for &queue in binding.queues {
        let sends = match binding.sending {
            Some(sending) => sending.contains(&queue),
            None => transmit_queues.is_none_or(|count| queue < count),
        };
        let (heart, mtu) = (hearts.next(), link.mtu().clone());
        parts
            .queues
            .push(Box::new(AfXdp::open(binding, queue, heart, mtu, sends)?));
    }
    (parts.link, parts.events) = (Some(link), events);
    Ok(parts)
}

fn usable() -> Result<(), String> {
    match sys::socket(libc::AF_XDP, libc::SOCK_RAW, 0, "AF_XDP") {
        Ok(_) => Ok(()),
        Err(Error::System { errno, .. }) => Err(match errno {
            libc::EPERM | libc::EACCES => "CAP_NET_RAW is missing: run as root".into(),
            libc::EAFNOSUPPORT => "this kernel has no AF_XDP: it needs CONFIG_XDP_SOCKETS".into(),
            errno => std::io::Error::from_raw_os_error(errno).to_string(),
        }),
        Err(error) => Err(error.to_string()),
    }
}

fn open(target: &str, options: &Options) -> Result<Parts, Error> {
    let binding = Binding {
        interface: target,
        queues: &options.get(&QUEUE)?,
        sending: None,
        memory: Memory {
            frame_size: options.get(&FRAME_SIZE)?,
            ..Memory::of(options)?
        },
        copying: options.get(&COPYING)?,
        ifindex: sys::index_of(target)?,
    };
    assemble(&binding, None)
}

struct UmemRegion(Mapping);

// SAFETY: a private mapping, handed to the kernel and to the pool only.
unsafe impl Region for UmemRegion {
    fn start(&self) -> std::ptr::NonNull<u8> {
        self.0.start()
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

impl AfXdp {
    /// Opens a socket on a queue. Once it is in an XSKMAP, it receives what an XDP program redirects to it from that
    /// queue.
    fn open(
        binding: &Binding<'_>,
        queue: u32,
        heartbeat: Option<Heartbeat>,
        mtu: Mtu,
        sends: bool,
    ) -> Result<Ringed<Self>, Error> {
        let socket = sys::socket(libc::AF_XDP, libc::SOCK_RAW, 0, "AF_XDP")?;
        let Memory {
            frames,
            frame_size,
            ring,
        } = binding.memory;
        let umem = Mapping::anonymous(frames as usize * frame_size as usize, "the umem")?;
        register(&socket, &umem, binding.memory)?;
        let rings = make_rings(&socket, ring)?;
        let (pool, free) = Pool::new(Box::new(UmemRegion(umem)), frame_size);
        let mut filled = Queue::new(pool, free, rings);
        filled.refill();
        bind(&socket, binding, queue)?;
        // SAFETY: a structure of integers.
        let options: libc::xdp_options = unsafe { get_option(socket.as_fd(), SOL_XDP, XDP_OPTIONS, "XDP_OPTIONS")? };
        let side = Self {
            interface: binding.interface.to_owned(),
            heartbeat,
            zero_copy: options.flags & XDP_OPTIONS_ZEROCOPY != 0,
            mtu,
            sends,
            dropped: 0,
            socket,
        };
        Ok(Ringed::new(filled, side))
    }
}

fn register(socket: &OwnedFd, umem: &Mapping, memory: Memory) -> Result<(), Error> {
    // SAFETY: a structure of integers.
    let mut registration: libc::xdp_umem_reg = unsafe { std::mem::zeroed() };
    registration.addr = umem.start().as_ptr() as u64;
    registration.len = umem.size() as u64;
    registration.chunk_size = memory.frame_size;
    let what = format!(
        "registering a umem of {} frames of {} bytes",
        memory.frames, memory.frame_size
    );
    set_option(socket.as_fd(), SOL_XDP, XDP_UMEM_REG, &registration, &what)
}

fn make_rings(socket: &OwnedFd, size: u32) -> Result<Rings, Error> {
    for (option, name) in [
        (XDP_UMEM_FILL_RING, "fill"),
        (XDP_UMEM_COMPLETION_RING, "completion"),
        (XDP_RX_RING, "rx"),
        (XDP_TX_RING, "tx"),
    ] {
        set_option(
            socket.as_fd(),
            SOL_XDP,
            option,
            &size,
            &format!("a {name} ring of {size} entries"),
        )?;
    }
    // SAFETY: a structure of integers.
    let offsets: libc::xdp_mmap_offsets =
        unsafe { get_option(socket.as_fd(), SOL_XDP, XDP_MMAP_OFFSETS, "XDP_MMAP_OFFSETS")? };
    let (fill, completion) = (XDP_UMEM_PGOFF_FILL_RING, XDP_UMEM_PGOFF_COMPLETION_RING);
    Ok(Rings {
        fill: Producer::new(map_ring(socket, &offsets.fr, fill as i64, size, "the fill ring")?),
        completion: Consumer::new(map_ring(
            socket,
            &offsets.cr,
            completion as i64,
            size,
            "the completion ring",
        )?),
        rx: Consumer::new(map_ring(socket, &offsets.rx, XDP_PGOFF_RX_RING, size, "the rx ring")?),
        tx: Producer::new(map_ring(socket, &offsets.tx, XDP_PGOFF_TX_RING, size, "the tx ring")?),
    })
}

fn map_ring<T: Copy + Default + Send + 'static>(
    socket: &OwnedFd,
    offsets: &libc::xdp_ring_offset,
    page_offset: i64,
    size: u32,
    what: &str,
) -> Result<RingMemory<T>, Error> {
    let bytes = offsets.desc as usize + size as usize * size_of::<T>();
    let memory = Arc::new(Mapping::of_file(socket.as_fd(), bytes, page_offset, what)?);
    let index = |offset: u64| memory.at(offset as usize);
    let (producer, consumer, flags) = (index(offsets.producer), index(offsets.consumer), index(offsets.flags));
    let entries = memory.at(offsets.desc as usize);
    // SAFETY: the kernel laid the ring out at these offsets; descriptors and addresses are plain integers; one Producer
    // or Consumer is made of it.
    Ok(unsafe { RingMemory::new(producer, consumer, flags, entries, size, memory) })
}

fn bind(socket: &OwnedFd, binding: &Binding<'_>, queue: u32) -> Result<(), Error> {
    let copying = match binding.copying {
        Copying::Auto => 0,
        Copying::Copy => XDP_COPY,
        Copying::Zero => XDP_ZEROCOPY,
    };
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: copying | XDP_USE_NEED_WAKEUP,
        sxdp_ifindex: binding.ifindex,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match sys::bind(socket.as_fd(), &address, || {
            format!("binding an AF_XDP socket to queue {queue}")
        }) {
            Err(Error::System { errno: libc::EBUSY, .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            outcome => return outcome,
        }
    }
}

impl OtherSide for AfXdp {
    fn kick_rx(&mut self, rings: &Rings) -> Result<(), Error> {
        if rings.fill.memory().needs_wakeup() {
            sys::kick_rx(self.socket.as_fd());
        }
        Ok(())
    }

    fn kick_tx(&mut self, rings: &Rings) -> Result<(), Error> {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.beat(); // someone who waits for room to send cannot look for packets, but is alive
        }
        // Copy mode sends at most 32 frames for each call: go on as long as the ring gets shorter. It stops at a frame
        // that the interface drops, and may show only later that the ring is shorter.
        let ring = rings.tx.memory();
        let mut left = ring.len();
        let mut drops = left;
        while left > 0 && ring.needs_wakeup() {
            let kicked = sys::kick_tx(self.socket.as_fd())?;
            let before = std::mem::replace(&mut left, ring.len());
            if kicked == Kicked::Busy && !self.zero_copy && drops > 0 {
                self.dropped += 1;
                drops -= 1;
            } else if left == before {
                break;
            }
        }
        Ok(())
    }

    fn pollable(&self) -> Option<i32> {
        Some(self.socket.as_raw_fd())
    }

    fn counters(&self) -> Result<Counters, Error> {
        // SAFETY: a structure of integers.
        let counters: libc::xdp_statistics =
            unsafe { get_option(self.socket.as_fd(), SOL_XDP, XDP_STATISTICS, "XDP_STATISTICS")? };
        Ok(Counters {
            rx_dropped: counters.rx_dropped,
            rx_ring_full: counters.rx_ring_full,
            fill_ring_empty: counters.rx_fill_ring_empty_descs,
            rx_invalid: counters.rx_invalid_descs,
            tx_invalid: counters.tx_invalid_descs,
            tx_dropped: self.dropped,
            ..Counters::default()
        })
    }

    fn facts(&self) -> Facts {
        Facts {
            kind: KIND.name,
            target: self.interface.clone(),
            modes: vec![if self.zero_copy { "zero-copy" } else { "copy" }],
            timestamps: Timestamps::Poll,
            lengths: Lengths {
                room: 0,
                mtu: Some(self.mtu.clone()),
            },
            sends: self.sends,
        }
    }
}

const _: () = assert!(size_of::<Descriptor>() == size_of::<libc::xdp_desc>());
