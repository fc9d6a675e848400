// SPDX-License-Identifier: Apache-2.0
//! The memory of each queue of a port, and the options for it.

use super::options::{Options, Setting};
use super::values::{Number, PowerOfTwo};
use crate::error::Error;

pub const FRAMES: Setting<Number> = Setting::new(
    "frames",
    Number {
        default: 4096,
        least: 1,
        most: 1 << 20,
    },
    "frames of memory for each queue",
);
pub const FRAME_SIZE: Setting<PowerOfTwo> = Setting::new(
    "frame_size",
    PowerOfTwo {
        default: 2048,
        least: 1,
        most: 1 << 16,
    },
    "bytes of each frame",
);
pub const RING: Setting<PowerOfTwo> = Setting::new(
    "ring",
    PowerOfTwo {
        default: 2048,
        least: 1,
        most: 1 << 16,
    },
    "entries of each ring",
);

/// How much memory a queue has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub frames: u32,
    /// Bytes of each frame, and entries of each ring: powers of two.
    pub frame_size: u32,
    pub ring: u32,
}

impl Memory {
    /// What the options [`FRAMES`], [`FRAME_SIZE`] and [`RING`] say.
    ///
    /// # Errors
    /// If a value is not allowed.
    pub fn of(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            frames: options.get(&FRAMES)?,
            frame_size: options.get(&FRAME_SIZE)?,
            ring: options.get(&RING)?,
        })
    }
}
