// SPDX-License-Identifier: Apache-2.0
//! Kinds of values that options have.

use std::fmt::Display;
use std::str::FromStr;

use super::options::{Given, Value};
use super::suggestion::suggestion;
use crate::error::Error;

/// A whole number.
pub struct Number {
    pub default: u32,
    pub least: u32,
    pub most: u32,
}

/// Whole numbers, each given by itself, none twice; the default alone if none is given.
pub struct Numbers(pub Number);

pub struct PowerOfTwo {
    pub default: u32,
    pub least: u32,
    pub most: u32,
}

/// Yes or no; here the default.
pub struct Flag(pub bool);

/// A number from 0 to 1; 0 if none is given.
pub struct Probability;

/// One of several words, each with its meaning. The first is the default.
pub struct Choice<T: 'static>(pub &'static [(&'static str, T)]);

/// Any text. `default` says what is done without one.
pub struct Text {
    pub metavar: &'static str,
    pub default: &'static str,
}

/// Packets, which only a program can give.
pub struct Packets;

impl Number {
    fn one(&self, key: &str, text: &str) -> Result<u32, Error> {
        let value = u32::try_from(parsed::<i128>(key, text, "a whole number")?).ok();
        let value = value.filter(|value| (self.least..=self.most).contains(value));
        value.ok_or_else(|| refused(key, text, &self.allowed()))
    }
}

impl Value for Number {
    type Read = u32;

    fn read(&self, key: &str, given: &[&Given]) -> Result<u32, Error> {
        last(key, given)?.map_or(Ok(self.default), |text| self.one(key, text))
    }

    fn metavar(&self) -> Option<String> {
        Some("N".into())
    }

    fn allowed(&self) -> String {
        format!("from {} to {}", self.least, self.most)
    }

    fn default(&self) -> String {
        self.default.to_string()
    }
}

impl Value for Numbers {
    type Read = Vec<u32>;
    const REPEATS: bool = true;

    fn read(&self, key: &str, given: &[&Given]) -> Result<Vec<u32>, Error> {
        let mut numbers = Vec::with_capacity(given.len().max(1));
        for value in given {
            let number = self.0.one(key, as_text(key, value)?)?;
            if numbers.contains(&number) {
                return Err(Error::option(format!("{key}={number}: given twice"), ""));
            }
            numbers.push(number);
        }
        if numbers.is_empty() {
            numbers.push(self.0.default);
        }
        Ok(numbers)
    }

    fn metavar(&self) -> Option<String> {
        self.0.metavar()
    }

    fn allowed(&self) -> String {
        self.0.allowed()
    }

    fn default(&self) -> String {
        self.0.default()
    }
}

impl Value for PowerOfTwo {
    type Read = u32;

    fn read(&self, key: &str, given: &[&Given]) -> Result<u32, Error> {
        let Some(text) = last(key, given)? else {
            return Ok(self.default);
        };
        let value = u32::try_from(parsed::<i128>(key, text, "a whole number")?).ok();
        let value = value.filter(|value| value.is_power_of_two() && (self.least..=self.most).contains(value));
        value.ok_or_else(|| refused(key, text, &self.allowed()))
    }

    fn metavar(&self) -> Option<String> {
        Some("N".into())
    }

    fn allowed(&self) -> String {
        match self.least {
            1 => format!("a power of two up to {}", self.most),
            least => format!("a power of two from {least} to {}", self.most),
        }
    }

    fn default(&self) -> String {
        self.default.to_string()
    }
}

impl Value for Flag {
    type Read = bool;

    fn read(&self, key: &str, given: &[&Given]) -> Result<bool, Error> {
        match last(key, given)?.map(str::to_ascii_lowercase).as_deref() {
            None => Ok(self.0),
            Some("yes" | "true" | "1") => Ok(true),
            Some("no" | "false" | "0") => Ok(false),
            Some(other) => Err(refused(key, &format!("{other:?}"), &self.allowed())),
        }
    }

    fn metavar(&self) -> Option<String> {
        Some("yes|no".into())
    }

    fn allowed(&self) -> String {
        "yes or no".into()
    }

    fn default(&self) -> String {
        if self.0 { "yes" } else { "no" }.into()
    }
}

impl Value for Probability {
    type Read = f64;

    fn read(&self, key: &str, given: &[&Given]) -> Result<f64, Error> {
        let Some(text) = last(key, given)? else { return Ok(0.0) };
        let value = parsed::<f64>(key, text, "a number from 0 to 1")?;
        let value = Some(value).filter(|value| (0.0..=1.0).contains(value));
        value.ok_or_else(|| refused(key, text, &self.allowed()))
    }

    fn metavar(&self) -> Option<String> {
        Some("P".into())
    }

    fn allowed(&self) -> String {
        "from 0 to 1".into()
    }

    fn default(&self) -> String {
        "0".into()
    }
}

impl<T: Copy + Sync> Choice<T> {
    fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|&(name, _)| name).collect()
    }

    /// What the word means.
    ///
    /// # Errors
    /// One that names the nearest word.
    pub fn meaning(&self, key: &str, word: &str) -> Result<T, Error> {
        let found = self.0.iter().find(|(name, _)| *name == word);
        found.map(|&(_, meaning)| meaning).ok_or_else(|| {
            let what = format!("{key}={word:?}: not {}", self.allowed());
            Error::option(what, suggestion(word, &self.names(), ""))
        })
    }
}

impl<T: Copy + Sync> Value for Choice<T> {
    type Read = T;

    fn read(&self, key: &str, given: &[&Given]) -> Result<T, Error> {
        last(key, given)?.map_or(Ok(self.0[0].1), |word| self.meaning(key, word))
    }

    fn metavar(&self) -> Option<String> {
        Some(self.names().join("|"))
    }

    fn allowed(&self) -> String {
        format!("one of {}", self.names().join(", "))
    }

    fn default(&self) -> String {
        self.0[0].0.into()
    }
}

impl Value for Text {
    type Read = Option<String>;

    fn read(&self, key: &str, given: &[&Given]) -> Result<Option<String>, Error> {
        last(key, given).map(|text| text.map(str::to_owned))
    }

    fn metavar(&self) -> Option<String> {
        Some(self.metavar.into())
    }

    fn allowed(&self) -> String {
        "text".into()
    }

    fn default(&self) -> String {
        self.default.into()
    }
}

impl Value for Packets {
    type Read = Vec<Vec<u8>>;

    fn read(&self, key: &str, given: &[&Given]) -> Result<Vec<Vec<u8>>, Error> {
        match given.last() {
            None => Ok(Vec::new()),
            Some(Given::Packets(packets)) => Ok(packets.clone()),
            Some(Given::Text(text)) => Err(refused(key, &format!("{text:?}"), &self.allowed())),
        }
    }

    fn metavar(&self) -> Option<String> {
        None
    }

    fn allowed(&self) -> String {
        "a list of packets".into()
    }

    fn default(&self) -> String {
        "none".into()
    }
}

/// The last value, which has to be text.
fn last<'a>(key: &str, given: &[&'a Given]) -> Result<Option<&'a str>, Error> {
    given.last().map(|value| as_text(key, value)).transpose()
}

fn as_text<'a>(key: &str, value: &'a Given) -> Result<&'a str, Error> {
    match value {
        Given::Text(text) => Ok(text),
        Given::Packets(_) => Err(Error::option(format!("{key}=: packets are not its value"), "")),
    }
}

fn parsed<T: FromStr<Err: Display>>(key: &str, text: &str, what: &str) -> Result<T, Error> {
    text.parse().map_err(|_| refused(key, &format!("{text:?}"), what))
}

fn refused(key: &str, text: &str, allowed: &str) -> Error {
    Error::option(format!("{key}={text}: not {allowed}"), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<V: Value>(value: &V, texts: &[&str]) -> Result<V::Read, String> {
        let given: Vec<Given> = texts.iter().map(|&text| Given::Text(text.into())).collect();
        let given: Vec<&Given> = given.iter().collect();
        value.read("key", &given).map_err(|error| error.to_string())
    }

    const NUMBER: Number = Number {
        default: 7,
        least: 1,
        most: 100,
    };

    #[test]
    fn numbers_have_a_range() {
        assert_eq!(read(&NUMBER, &["64"]), Ok(64));
        assert_eq!(read(&NUMBER, &[]), Ok(7));
        for (text, expected) in [
            ("0", "key=0: not from 1 to 100"),
            ("-1", "key=-1: not from 1 to 100"),
            ("1099511627776", "key=1099511627776: not from 1 to 100"),
            ("many", "key=\"many\": not a whole number"),
            ("", "key=\"\": not a whole number"),
        ] {
            assert_eq!(read(&NUMBER, &[text]), Err(expected.into()));
        }
    }

    #[test]
    fn the_last_counts_unless_all_do() {
        assert_eq!(read(&NUMBER, &["1", "3"]), Ok(3));
        assert_eq!(read(&Numbers(NUMBER), &["1", "3"]), Ok(vec![1, 3]));
        assert_eq!(read(&Numbers(NUMBER), &[]), Ok(vec![7]));
        assert_eq!(read(&Numbers(NUMBER), &["3", "3"]), Err("key=3: given twice".into()));
    }

    #[test]
    fn powers_of_two() {
        let value = PowerOfTwo {
            default: 8,
            least: 2,
            most: 64,
        };
        assert_eq!((read(&value, &["64"]), read(&value, &[])), (Ok(64), Ok(8)));
        for text in ["0", "1", "3", "-2", "128"] {
            let expected = format!("key={text}: not a power of two from 2 to 64");
            assert_eq!(read(&value, &[text]), Err(expected));
        }
    }

    #[test]
    fn flags_probabilities_and_choices() {
        assert_eq!(
            (read(&Flag(true), &["False"]), read(&Flag(true), &[])),
            (Ok(false), Ok(true))
        );
        assert_eq!(
            read(&Flag(true), &["maybe"]),
            Err("key=\"maybe\": not yes or no".into())
        );
        assert_eq!(
            (read(&Probability, &["0.25"]), read(&Probability, &[])),
            (Ok(0.25), Ok(0.0))
        );
        for text in ["2", "NaN"] {
            let expected = format!("key={text}: not from 0 to 1");
            assert_eq!(read(&Probability, &[text]), Err(expected));
        }
        let choice = Choice(&[("auto", 1), ("copy", 2)]);
        assert_eq!((read(&choice, &["copy"]), read(&choice, &[])), (Ok(2), Ok(1)));
        assert_eq!(
            read(&choice, &["cpoy"]),
            Err("key=\"cpoy\": not one of auto, copy".into())
        );
    }

    #[test]
    fn packets_are_no_text_and_text_no_packets() {
        let packets = Given::Packets(vec![vec![1]]);
        assert_eq!(Packets.read("key", &[&packets]), Ok(vec![vec![1]]));
        assert_eq!(read(&Packets, &["x"]), Err("key=\"x\": not a list of packets".into()));
        let wrong = NUMBER.read("key", &[&packets]).unwrap_err();
        assert_eq!(wrong.to_string(), "key=: packets are not its value");
    }
}
