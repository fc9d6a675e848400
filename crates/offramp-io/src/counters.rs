// SPDX-License-Identifier: Apache-2.0
//! What a queue of a port counts. The list below is the only one: `offramp.ports.ledger.QueueLedger` has the same
//! names.

macro_rules! counters {
    ($($(#[$about:meta])* $name:ident),+ $(,)?) => {
        /// Packets, except where it says frames.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$about])* pub $name: u64,)+
        }

        impl Counters {
            /// Each counter with its name.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }
    };
}

counters! {
    /// Handed to the application.
    received,
    /// In the rx ring, not yet read.
    waiting,
    /// Put into the tx ring; and how many of these were reported as done.
    sent,
    completed,
    /// To be sent, and refused: the tx ring had no room in time.
    tx_ring_full,
    /// Of the completed ones: those that the interface dropped, as it had no carrier or its peer did not take them.
    tx_dropped,
    /// No frame in the fill ring. Without a program of offramp's also: a packet larger than a frame.
    rx_dropped,
    /// The rx ring was full.
    rx_ring_full,
    /// How often the driver found the fill ring empty; in copy mode each time also counts in `rx_dropped`.
    fill_ring_empty,
    /// Our descriptors that the kernel refused, on the fill ring and the tx ring.
    rx_invalid,
    tx_invalid,
    /// Addresses that the kernel returned although it had not been lent them.
    strays,
    /// Frames: in the free list, lent for receiving, lent for sending, in live batches and views.
    free,
    filling,
    sending,
    application,
}
