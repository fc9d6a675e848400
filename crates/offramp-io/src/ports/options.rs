// SPDX-License-Identifier: Apache-2.0
//! The options of a port. Each is written once, as a [`Setting`]: its name, its kind of value with the default and what
//! is allowed, and a sentence. From that come the syntax, the checks, the errors and what `offramp ports` shows.

use super::suggestion::suggestion;
use crate::error::Error;

/// One option's value: text from a URI, or a value that only a program can give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    Text(String),
    Packets(Vec<Vec<u8>>),
}

/// A kind of value: how it is read, and the words for people. `ports/values.rs` has them.
pub trait Value: Sync {
    type Read;

    /// Whether each value given counts; else the last one does.
    const REPEATS: bool = false;

    /// What was given for the option `key`, in order, as a value; the default if nothing was.
    ///
    /// # Errors
    /// One that quotes the value and says what is allowed.
    fn read(&self, key: &str, given: &[&Given]) -> Result<Self::Read, Error>;

    /// As the syntax writes it; `None` if only a program can give it.
    fn metavar(&self) -> Option<String>;

    /// What is allowed, so that "not" can stand in front of it.
    fn allowed(&self) -> String;

    fn default(&self) -> String;
}

/// One option of a kind of port, or of a wrapper.
pub struct Setting<V> {
    pub name: &'static str,
    pub value: V,
    pub about: &'static str,
}

impl<V: Value> Setting<V> {
    #[must_use]
    pub const fn new(name: &'static str, value: V, about: &'static str) -> Self {
        Self { name, value, about }
    }
}

/// A setting whose values may be of any kind, as tables have it.
pub trait Listed: Sync {
    fn name(&self) -> &'static str;
    fn about(&self) -> &'static str;
    /// See [`Value::allowed`].
    fn allowed(&self) -> String;
    /// See [`Value::default`].
    fn default(&self) -> String;
    /// As the syntax writes it: nothing if only a program can give it.
    fn written(&self) -> String;
    /// Checks what was given for it.
    ///
    /// # Errors
    /// Those of [`Value::read`].
    fn check(&self, options: &Options) -> Result<(), Error>;
}

impl<V: Value> Listed for Setting<V> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn allowed(&self) -> String {
        self.value.allowed()
    }

    fn default(&self) -> String {
        self.value.default()
    }

    fn written(&self) -> String {
        let again = if V::REPEATS { "..." } else { "" };
        let metavar = self.value.metavar();
        metavar.map_or_else(String::new, |metavar| format!("[,{}={metavar}]{again}", self.name))
    }

    fn check(&self, options: &Options) -> Result<(), Error> {
        options.get(self).map(drop)
    }
}

/// Options in the order in which they were given. A key may come several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(Vec<(String, Given)>);

impl Options {
    pub fn push(&mut self, key: impl Into<String>, value: Given) {
        self.0.push((key.into(), value));
    }

    /// Checks that all keys are among `known`, and that their values are allowed.
    ///
    /// # Errors
    /// One that names the options that `whose` has, or says what is allowed.
    pub fn check(&self, whose: &str, known: &[&dyn Listed]) -> Result<(), Error> {
        let names: Vec<&str> = known.iter().map(|setting| setting.name()).collect();
        if let Some((key, _)) = self.0.iter().find(|(key, _)| !names.contains(&key.as_str())) {
            return Err(Error::option(
                format!("{key}=: {whose} has no such option"),
                suggestion(key, &names, "options"),
            ));
        }
        known.iter().try_for_each(|setting| setting.check(self))
    }

    /// The value of that option.
    ///
    /// # Errors
    /// Those of [`Value::read`].
    pub fn get<V: Value>(&self, setting: &Setting<V>) -> Result<V::Read, Error> {
        let given = self.0.iter().filter(|(key, _)| key == setting.name);
        let given: Vec<&Given> = given.map(|(_, value)| value).collect();
        setting.value.read(setting.name, &given)
    }
}
