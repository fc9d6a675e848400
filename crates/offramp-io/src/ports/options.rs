// SPDX-License-Identifier: Apache-2.0
//! The options of a port, read and checked.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::uri::suggestion;
use crate::error::Error;

/// One option's value: text from a URI, or a value that only a program can give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    Text(String),
    Packets(Vec<Vec<u8>>),
}

/// Options in the order in which they were given. A key may come several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(Vec<(String, Given)>);

impl Options {
    pub fn push(&mut self, key: impl Into<String>, value: Given) {
        self.0.push((key.into(), value));
    }

    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Checks that all keys are among `known`.
    ///
    /// # Errors
    /// One that names the options that `whose` has.
    pub fn check(&self, whose: &str, known: &[&str]) -> Result<(), Error> {
        match self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => Err(Error::option(
                format!("{key}=: {whose} has no such option"),
                suggestion(key, known, "options"),
            )),
            None => Ok(()),
        }
    }

    /// The last value of that key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Given> {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    pub fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        self.get(key).map(|value| as_text(key, value)).transpose()
    }

    /// All values of that key.
    pub fn all(&self, key: &str) -> Result<Vec<&str>, Error> {
        let values = self.0.iter().filter(|(known, _)| known == key);
        values.map(|(_, value)| as_text(key, value)).collect()
    }

    pub fn number(&self, key: &str, default: u32, range: RangeInclusive<u32>) -> Result<u32, Error> {
        let text = self.text(key)?;
        text.map_or(Ok(default), |text| whole_number(key, text, range))
    }

    pub fn power_of_two(&self, key: &str, default: u32, most: u32) -> Result<u32, Error> {
        let Some(text) = self.text(key)? else {
            return Ok(default);
        };
        let value = parse::<i128>(key, text, "a whole number")?;
        let fits = |value: &u32| value.is_power_of_two() && *value <= most;
        let wrong = || Error::option(format!("{key}={text}: not a power of two up to {most}"), "");
        u32::try_from(value).ok().filter(fits).ok_or_else(wrong)
    }

    pub fn flag(&self, key: &str, default: bool) -> Result<bool, Error> {
        match self.text(key)?.map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("yes" | "true" | "1") => Ok(true),
            Some("no" | "false" | "0") => Ok(false),
            Some(other) => Err(Error::option(format!("{key}={other:?}: not yes or no"), "")),
        }
    }

    /// A number from 0 to 1.
    pub fn probability(&self, key: &str) -> Result<f64, Error> {
        let Some(text) = self.text(key)? else { return Ok(0.0) };
        let value = parse::<f64>(key, text, "a number from 0 to 1")?;
        if (0.0..=1.0).contains(&value) {
            Ok(value)
        } else {
            Err(Error::option(format!("{key}={text}: not from 0 to 1"), ""))
        }
    }

    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, Error> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if let Some(&(_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Ok(Some(value));
        }
        let names: Vec<&str> = choices.iter().map(|&(name, _)| name).collect();
        let what = format!("{key}={text:?}: not one of {}", names.join(", "));
        Err(Error::option(what, suggestion(text, &names, "")))
    }
}

/// `text`, the value of `key`, as a whole number in `range`.
pub fn whole_number(key: &str, text: &str, range: RangeInclusive<u32>) -> Result<u32, Error> {
    let value = parse::<i128>(key, text, "a whole number")?;
    let (least, most) = (range.start(), range.end());
    let wrong = || Error::option(format!("{key}={text}: not from {least} to {most}"), "");
    let value = u32::try_from(value).ok().filter(|value| range.contains(value));
    value.ok_or_else(wrong)
}

fn as_text<'a>(key: &str, value: &'a Given) -> Result<&'a str, Error> {
    match value {
        Given::Text(text) => Ok(text),
        Given::Packets(_) => Err(Error::option(format!("{key}=: packets are not its value"), "")),
    }
}

fn parse<T: FromStr<Err: Display>>(key: &str, text: &str, what: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|_| Error::option(format!("{key}={text:?}: not {what}"), ""))
}

/// The memory of a port in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub frames: u32,
    /// Bytes of each frame, and entries of each ring: powers of two.
    pub frame_size: u32,
    pub ring: u32,
}

impl Memory {
    /// The options `frames`, `frame_size`, `ring`.
    pub fn of(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            frames: options.number("frames", 4096, 1..=1 << 20)?,
            frame_size: options.power_of_two("frame_size", 2048, 1 << 16)?,
            ring: options.power_of_two("ring", 2048, 1 << 16)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(key: &str, text: &str) -> Options {
        let mut options = Options::default();
        options.push(key, Given::Text(text.into()));
        options
    }

    fn complaint<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn numbers_have_a_range() {
        assert_eq!(options("frames", "64").number("frames", 1, 1..=100), Ok(64));
        assert_eq!(Options::default().number("frames", 1, 1..=100), Ok(1));
        for (text, expected) in [
            ("0", "frames=0: not from 1 to 100"),
            ("-1", "frames=-1: not from 1 to 100"),
            ("1099511627776", "frames=1099511627776: not from 1 to 100"),
            ("many", "frames=\"many\": not a whole number"),
            ("", "frames=\"\": not a whole number"),
        ] {
            assert_eq!(
                complaint(options("frames", text).number("frames", 1, 1..=100)),
                expected
            );
        }
    }

    #[test]
    fn memory_comes_in_powers_of_two() {
        let memory = Memory::of(&options("ring", "64")).unwrap();
        assert_eq!((memory.frames, memory.frame_size, memory.ring), (4096, 2048, 64));
        for text in ["0", "3", "-2", "131072"] {
            let expected = format!("ring={text}: not a power of two up to 65536");
            assert_eq!(complaint(Memory::of(&options("ring", text))), expected);
        }
    }

    #[test]
    fn flags_probabilities_and_choices() {
        assert_eq!(options("repeat", "False").flag("repeat", true), Ok(false));
        assert_eq!(
            complaint(options("repeat", "maybe").flag("repeat", true)),
            "repeat=\"maybe\": not yes or no"
        );
        assert_eq!(options("drop", "0.25").probability("drop"), Ok(0.25));
        assert_eq!(
            complaint(options("drop", "2").probability("drop")),
            "drop=2: not from 0 to 1"
        );
        assert_eq!(
            complaint(options("drop", "NaN").probability("drop")),
            "drop=NaN: not from 0 to 1"
        );
        let choices = [("auto", 1), ("copy", 2)];
        assert_eq!(options("copying", "copy").choice("copying", &choices), Ok(Some(2)));
        let wrong = options("copying", "cpoy").choice("copying", &choices).unwrap_err();
        assert_eq!(wrong.to_string(), "copying=\"cpoy\": not one of auto, copy");
    }

    #[test]
    fn the_last_value_counts_and_all_can_be_had() {
        let mut twice = options("queue", "1");
        twice.append(options("queue", "3"));
        assert_eq!(twice.all("queue"), Ok(vec!["1", "3"]));
        assert_eq!(twice.text("queue"), Ok(Some("3")));
    }
}
