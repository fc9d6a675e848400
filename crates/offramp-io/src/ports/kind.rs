// SPDX-License-Identifier: Apache-2.0
//! What the registry knows of a kind of port, and of a wrapper.

use super::options::{Listed, Options};
use crate::error::Error;
use crate::port::{Parts, Queues};

/// A kind of port.
pub struct Kind {
    pub name: &'static str,
    /// What is behind the colon, as the syntax shows it.
    pub target: &'static str,
    pub about: &'static str,
    /// The privileges and parts of the system that it needs.
    pub needs: &'static str,
    pub options: &'static [&'static dyn Listed],
    /// Whether it can be opened here and now; if not, why, and what to do.
    pub usable: fn() -> Result<(), String>,
    pub open: fn(target: &str, options: &Options) -> Result<Parts, Error>,
}

impl Kind {
    /// How it is named, with all options that a name can have.
    #[must_use]
    pub fn syntax(&self) -> String {
        format!("{}:{}{}", self.name, self.target, written(self.options))
    }
}

/// A port around each queue of another one.
pub struct Wrapper {
    pub name: &'static str,
    pub about: &'static str,
    pub options: &'static [&'static dyn Listed],
    pub wrap: fn(queues: Queues, options: &Options) -> Result<Queues, Error>,
}

impl Wrapper {
    /// As [`Kind::syntax`].
    #[must_use]
    pub fn syntax(&self) -> String {
        format!("{}{}+...", self.name, written(self.options))
    }
}

fn written(options: &[&dyn Listed]) -> String {
    options.iter().map(|option| option.written()).collect()
}

/// For kinds that need nothing: usable everywhere.
pub fn always() -> Result<(), String> {
    Ok(())
}
