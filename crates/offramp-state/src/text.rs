// SPDX-License-Identifier: Apache-2.0
//! The text of elements: RFC 5952 for IPv6, dotted quads without leading zeros for IPv4, `aa:bb:cc:dd:ee:ff`.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::item::{Family, Item, Items, Wrong};
use crate::shape::{Shape, from_number};

/// The element that `text` spells.
#[inline]
pub fn from_text(shape: Shape, text: &str) -> Result<Item, Wrong> {
    let (address, length) = match text.split_once('/') {
        None => (text, None),
        Some((address, length)) => (address, Some(prefix_length(length).ok_or(Wrong::Text)?)),
    };
    match parse(shape.family(), address) {
        Some(value) => from_number(shape, value, length),
        None => match family_of(text) {
            Some(family) if family != shape.family() => Err(Wrong::Family(family)),
            _ if is_large_port(shape, text) => Err(Wrong::Number),
            _ => Err(Wrong::Text),
        },
    }
}

fn is_large_port(shape: Shape, text: &str) -> bool {
    shape.family() == Family::Port && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse(family: Family, text: &str) -> Option<u128> {
    match family {
        Family::Ip => Ipv4Addr::from_str(text).ok().map(|address| address.to_bits().into()),
        Family::Ip6 => Ipv6Addr::from_str(text).ok().map(Ipv6Addr::to_bits),
        Family::Port => decimal(text).map(Into::into),
        Family::Ether => station(text),
    }
}

/// The only family that `text` can be of. A port is a number alone.
#[must_use]
pub fn family_of(text: &str) -> Option<Family> {
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    [Family::Ip, Family::Ip6, Family::Ether, Family::Port]
        .into_iter()
        .find(|&family| parse(family, address).is_some())
}

fn decimal(text: &str) -> Option<u16> {
    let is_plain = !text.starts_with(['+', '0']) || text == "0";
    text.parse().ok().filter(|_| is_plain)
}

/// A prefix length. One that is too large is found out later, so that the error can say so.
fn prefix_length(text: &str) -> Option<u8> {
    decimal(text).map(|length| u8::try_from(length).unwrap_or(u8::MAX))
}

/// Six numbers of one or two hexadecimal digits, separated by ':' or '-'.
fn station(text: &str) -> Option<u128> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut value = 0;
    let mut count = 0;
    for part in text.split(separator) {
        if !(1..=2).contains(&part.len()) || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        value = value << 8 | u128::from_str_radix(part, 16).ok()?;
        count += 1;
    }
    (count == 6).then_some(value)
}

impl Item {
    /// Appends the canonical text; a network of one address is written as an address.
    pub fn write(self, family: Family, text: &mut String) {
        let length = self.length.unwrap_or(family.bits());
        write_value(family, self.value, length, text).expect("a String takes everything");
    }
}

fn write_value(family: Family, value: u128, length: u8, text: &mut String) -> fmt::Result {
    match family {
        Family::Ip => write!(text, "{}", Ipv4Addr::from_bits(value as u32))?,
        Family::Ip6 => write!(text, "{}", Ipv6Addr::from_bits(value))?,
        Family::Port => write!(text, "{value}")?,
        Family::Ether => {
            for place in (0..6).rev() {
                write!(
                    text,
                    "{:02x}{}",
                    (value >> (8 * place)) as u8,
                    if place > 0 { ":" } else { "" }
                )?;
            }
        }
    }
    if length == family.bits() {
        Ok(())
    } else {
        write!(text, "/{length}")
    }
}

/// `network/length`, for the hint of an error.
#[must_use]
pub fn network_text(family: Family, network: u128, length: u8) -> String {
    let mut text = String::new();
    write_value(family, network, length, &mut text).expect("a String takes everything");
    text
}

/// Why a text is not a list of elements.
#[derive(Debug, PartialEq, Eq)]
pub enum Unread<'a> {
    /// The number of a line, counted from 1, its content, and what is wrong.
    Line(usize, &'a str, Wrong),
    /// There is no memory for them all.
    Memory,
}

/// The elements of a text with one on each line, in the formats that lists come in (docs/sets.md); '#' and ';' begin a
/// comment.
pub fn from_lines(shape: Shape, text: &str) -> Result<Items, Unread<'_>> {
    let mut items = Items::new(shape);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim_ascii();
        if let Some(element) = element_of(line) {
            let item = from_text(shape, element).map_err(|wrong| Unread::Line(number, line, wrong))?;
            items.push(item).map_err(|_| Unread::Memory)?;
        }
    }
    Ok(items)
}

/// What a line, without its comment, has of an element: it alone, if the rest is known to say nothing of it; else all.
///
/// ```text
/// 192.0.2.1 www              a word behind white space; but not a number or a sign: a mask, or a range
/// add NAME 192.0.2.0/24 ...  `ipset save`; `create` says nothing
/// ```
fn element_of(line: &str) -> Option<&str> {
    let (first, rest) = line
        .split_once(is_blank)
        .map_or((line, ""), |(first, rest)| (first, rest.trim_ascii()));
    match first {
        "" | "create" => None,
        "add" => Some(of_ipset(rest).unwrap_or(line)),
        _ if rest.starts_with(|begin: char| begin.is_ascii_alphabetic()) => Some(first),
        _ => Some(line),
    }
}

/// The element in `NAME ELEMENT OPTION...`; none if it is an exception from a network.
fn of_ipset(rest: &str) -> Option<&str> {
    let mut words = rest.split(is_blank).filter(|word| !word.is_empty());
    let element = words.nth(1)?;
    words.all(|word| word != "nomatch").then_some(element)
}

fn is_blank(letter: char) -> bool {
    letter.is_ascii_whitespace()
}
