// SPDX-License-Identifier: Apache-2.0
//! A queue's counters, by their names in `offramp.ports.QueueLedger`.

use offramp_io::KernelCounters;
use offramp_ring::Queue;

pub fn counters(queue: &Queue, kernel: &KernelCounters) -> [(&'static str, u64); 14] {
    let (places, sent) = (queue.places(), queue.sent());
    [
        ("received", queue.received()),
        ("waiting", queue.rings().rx.memory().len().into()),
        ("sent", sent.0),
        ("completed", sent.1),
        ("strays", queue.strays()),
        ("free", places.free.into()),
        ("filling", places.filling.into()),
        ("sending", places.sending.into()),
        ("application", places.application.into()),
        ("rx_dropped", kernel.rx_dropped),
        ("rx_ring_full", kernel.rx_ring_full),
        ("fill_ring_empty", kernel.fill_ring_empty),
        ("rx_invalid", kernel.rx_invalid),
        ("tx_invalid", kernel.tx_invalid),
    ]
}
