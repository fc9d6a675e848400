// SPDX-License-Identifier: Apache-2.0
//! AF_XDP: frames of one receive queue of one interface, redirected to a socket by an XDP program.
//!
//! Documentation/networking/af_xdp.rst. Each socket has its own umem, so that queues share nothing and each can have its own thread.
//! Needs `CAP_NET_RAW`; memory counts against `RLIMIT_MEMLOCK` unless the process has `CAP_IPC_LOCK`. Linux 5.4 for need_wakeup.
//!
//! The order matters: rings, then a filled fill ring, then bind (a zero-copy driver that finds the fill ring empty at bind may never
//! look again). `bind` is not to be believed as to the mode: `XDP_OPTIONS` is asked.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libc::{
    SOL_XDP, XDP_COPY, XDP_MMAP_OFFSETS, XDP_OPTIONS, XDP_OPTIONS_ZEROCOPY, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_RX_RING, XDP_STATISTICS, XDP_TX_RING, XDP_UMEM_COMPLETION_RING, XDP_UMEM_FILL_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XDP_UMEM_REG, XDP_USE_NEED_WAKEUP, XDP_ZEROCOPY,
};
use offramp_ring::{Consumer, Descriptor, Pool, Producer, Queue, Region, RingMemory, Rings};

use crate::error::Error;
use crate::heartbeat::Heartbeat;
use crate::port::{KernelCounters, Port};
use crate::sys::{Mapping, check, errno, get_option, set_option, socket};

/// Bind returns EBUSY while the kernel is still tearing down a socket that was closed on this queue a moment ago.
const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// Who copies the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    /// Zero-copy if the driver can, else a copy by the kernel.
    Auto,
    /// A copy by the kernel.
    Copy,
    /// The driver writes to the umem, or bind fails with EOPNOTSUPP.
    Zero,
}

/// What to bind to, and with how much memory.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    pub ifindex: u32,
    pub queue: u32,
    pub frames: u32,
    /// A power of two from 2048 to the page size.
    pub frame_size: u32,
    /// Entries of each of the four rings, a power of two.
    pub ring: u32,
    pub copying: Copying,
}

/// An AF_XDP socket with its umem and rings.
pub struct AfXdp {
    queue: Queue,
    heartbeat: Option<Heartbeat>,
    zero_copy: bool,
    socket: OwnedFd,
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
    /// Opens a socket on a queue. It receives what an XDP program redirects to it from that queue, as soon as it is in an XSKMAP.
    pub fn open(binding: &Binding, heartbeat: Option<Heartbeat>) -> Result<Self, Error> {
        let socket = socket(libc::AF_XDP, libc::SOCK_RAW, 0, "AF_XDP")?;
        let size = binding.frames as usize * binding.frame_size as usize;
        let umem = Mapping::anonymous(size, "the umem")?;
        register(&socket, &umem, binding)?;
        let rings = make_rings(&socket, binding.ring)?;
        let (pool, frames) = Pool::new(Box::new(UmemRegion(umem)), binding.frame_size);
        let mut queue = Queue::new(pool, frames, rings);
        queue.refill();
        bind(&socket, binding)?;
        // SAFETY: a structure of integers.
        let options: libc::xdp_options = unsafe { get_option(socket.as_fd(), SOL_XDP, XDP_OPTIONS, "XDP_OPTIONS")? };
        Ok(Self {
            queue,
            heartbeat,
            zero_copy: options.flags & XDP_OPTIONS_ZEROCOPY != 0,
            socket,
        })
    }

    /// The socket, to be put into an XSKMAP.
    #[must_use]
    pub fn fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

fn register(socket: &OwnedFd, umem: &Mapping, binding: &Binding) -> Result<(), Error> {
    // SAFETY: a structure of integers.
    let mut registration: libc::xdp_umem_reg = unsafe { std::mem::zeroed() };
    registration.addr = umem.start().as_ptr() as u64;
    registration.len = umem.size() as u64;
    registration.chunk_size = binding.frame_size;
    let what = format!(
        "registering a umem of {} frames of {} bytes",
        binding.frames, binding.frame_size
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
    // SAFETY: the kernel laid the ring out at these offsets; descriptors and addresses are plain integers; one Producer or Consumer
    // is made of it.
    Ok(unsafe { RingMemory::new(producer, consumer, flags, entries, size, memory) })
}

fn bind(socket: &OwnedFd, binding: &Binding) -> Result<(), Error> {
    let copying = match binding.copying {
        Copying::Auto => 0,
        Copying::Copy => XDP_COPY,
        Copying::Zero => XDP_ZEROCOPY,
    };
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: copying | XDP_USE_NEED_WAKEUP,
        sxdp_ifindex: binding.ifindex,
        sxdp_queue_id: binding.queue,
        sxdp_shared_umem_fd: 0,
    };
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        let size = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the pointer and the size describe `address`.
        let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
        let outcome = check(result, || {
            format!("binding an AF_XDP socket to queue {}", binding.queue)
        });
        match outcome {
            Err(Error::System { errno: libc::EBUSY, .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => return outcome.map(drop),
        }
    }
}

impl Port for AfXdp {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn queue_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }

    fn kick_tx(&mut self) -> Result<(), Error> {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.beat(); // who waits for room to send cannot look for packets, but lives
        }
        // Copy mode sends at most 32 frames a call: go on as long as the ring gets shorter.
        let ring = self.queue.rings().tx.memory();
        let mut left = ring.len();
        while left > 0 && ring.needs_wakeup() {
            // SAFETY: no data and no address.
            let result =
                unsafe { libc::sendto(self.fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0) };
            // The driver's queue is full, or another CPU is at it: to be tried again.
            let transient = result >= 0 || matches!(errno(), libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR);
            if !transient {
                return Err(Error::System {
                    what: "sending".into(),
                    errno: errno(),
                });
            }
            let before = std::mem::replace(&mut left, ring.len());
            if left == before {
                break;
            }
        }
        Ok(())
    }

    fn kick_rx(&mut self) -> Result<(), Error> {
        if self.queue.rings().fill.memory().needs_wakeup() {
            // SAFETY: no data and no address. Its result says nothing that poll does not say better.
            unsafe { libc::recv(self.fd(), std::ptr::null_mut(), 0, libc::MSG_DONTWAIT) };
        }
        Ok(())
    }

    fn pollable(&self) -> Option<i32> {
        Some(self.fd())
    }

    fn kernel_counters(&self) -> Result<KernelCounters, Error> {
        // SAFETY: a structure of integers.
        let counters: libc::xdp_statistics =
            unsafe { get_option(self.socket.as_fd(), SOL_XDP, XDP_STATISTICS, "XDP_STATISTICS")? };
        Ok(KernelCounters {
            rx_dropped: counters.rx_dropped,
            rx_ring_full: counters.rx_ring_full,
            fill_ring_empty: counters.rx_fill_ring_empty_descs,
            rx_invalid: counters.rx_invalid_descs,
            tx_invalid: counters.tx_invalid_descs,
        })
    }

    fn zero_copy(&self) -> bool {
        self.zero_copy
    }
}

const _: () = assert!(size_of::<Descriptor>() == size_of::<libc::xdp_desc>());
