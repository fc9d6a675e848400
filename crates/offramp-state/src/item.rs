// SPDX-License-Identifier: Apache-2.0
//! Elements of all families, and their text: RFC 5952 for IPv6, dotted quads without leading zeros for IPv4, `aa:bb:cc:dd:ee:ff`.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::prefixes::Prefix;
use crate::shape::{Family, Shape, Structure};

/// One element of a set, as its structure keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Number(u64),
    Wide(u128),
    Prefix(Prefix<u32>),
    Prefix6(Prefix<u128>),
}

/// Many elements of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    Numbers(Vec<u64>),
    Wide(Vec<u128>),
    Prefixes(Vec<Prefix<u32>>),
    Prefixes6(Vec<Prefix<u128>>),
}

/// Why a text or a number is not an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is none of what offramp knows.
    Text,
    /// It is an element of another family.
    Family(Family),
    /// A network, where only addresses can be.
    Network,
    /// The prefix is longer than an address.
    Length,
    /// Bits behind the prefix are set; the network that they are in, and its length.
    HostBits(u128, u8),
    /// The number is too large.
    Number,
}

impl Items {
    #[must_use]
    pub fn new(shape: Shape, room: usize) -> Self {
        match (shape.structure, shape.family) {
            (Structure::Ranges, Family::Ip6) => Self::Prefixes6(Vec::with_capacity(room)),
            (Structure::Ranges, _) => Self::Prefixes(Vec::with_capacity(room)),
            (_, Family::Ip6) => Self::Wide(Vec::with_capacity(room)),
            _ => Self::Numbers(Vec::with_capacity(room)),
        }
    }

    /// # Panics
    /// If the item is of another kind.
    #[inline]
    pub fn push(&mut self, item: Item) {
        match (self, item) {
            (Self::Numbers(all), Item::Number(one)) => all.push(one),
            (Self::Wide(all), Item::Wide(one)) => all.push(one),
            (Self::Prefixes(all), Item::Prefix(one)) => all.push(one),
            (Self::Prefixes6(all), Item::Prefix6(one)) => all.push(one),
            _ => unreachable!("items of one set are of one kind"),
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(all) => all.len(),
            Self::Wide(all) => all.len(),
            Self::Prefixes(all) => all.len(),
            Self::Prefixes6(all) => all.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[must_use]
    pub fn get(&self, index: usize) -> Item {
        match self {
            Self::Numbers(all) => Item::Number(all[index]),
            Self::Wide(all) => Item::Wide(all[index]),
            Self::Prefixes(all) => Item::Prefix(all[index]),
            Self::Prefixes6(all) => Item::Prefix6(all[index]),
        }
    }
}

/// The number of `value` as an element; of a network with a prefix `length`.
#[inline]
pub fn from_number(shape: Shape, value: u128, length: Option<u8>) -> Result<Item, Wrong> {
    let bits = shape.family.bits();
    if bits < 128 && value >> bits != 0 {
        return Err(Wrong::Number);
    }
    if shape.structure != Structure::Ranges {
        return match (length, shape.family) {
            (Some(length), _) if length != bits => Err(Wrong::Network),
            (_, Family::Ip6) => Ok(Item::Wide(value)),
            _ => Ok(Item::Number(value as u64)),
        };
    }
    let length = length.unwrap_or(bits);
    if length > bits {
        return Err(Wrong::Length);
    }
    let host_bits = bits - length;
    let network = if host_bits == 128 {
        0
    } else {
        value >> host_bits << host_bits
    };
    if network != value {
        return Err(Wrong::HostBits(network, length));
    }
    Ok(match shape.family {
        Family::Ip6 => Item::Prefix6(Prefix { first: value, length }),
        _ => Item::Prefix(Prefix {
            first: value as u32,
            length,
        }),
    })
}

/// The element that `text` spells.
#[inline]
pub fn from_text(shape: Shape, text: &str) -> Result<Item, Wrong> {
    let (address, length) = match text.split_once('/') {
        None => (text, None),
        Some((address, length)) => (address, Some(prefix_length(length).ok_or(Wrong::Text)?)),
    };
    match parse(shape.family, address) {
        Some(value) => from_number(shape, value, length),
        None => match family_of(text) {
            Some(family) if family != shape.family => Err(Wrong::Family(family)),
            _ if is_large_port(shape, text) => Err(Wrong::Number),
            _ => Err(Wrong::Text),
        },
    }
}

fn is_large_port(shape: Shape, text: &str) -> bool {
    shape.family == Family::Port && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
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

/// A prefix length; too large ones are found out later, so that the error can say so.
fn prefix_length(text: &str) -> Option<u8> {
    decimal(text).map(|length| u8::try_from(length).unwrap_or(u8::MAX))
}

/// Six numbers of one or two hexadecimal digits, with ':' or '-' between them.
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
    /// Appends the canonical text; networks of one address are written as that.
    pub fn write(self, family: Family, text: &mut String) {
        let (value, length) = match self {
            Self::Number(value) => (value.into(), family.bits()),
            Self::Wide(value) => (value, family.bits()),
            Self::Prefix(prefix) => (prefix.first.into(), prefix.length),
            Self::Prefix6(prefix) => (prefix.first, prefix.length),
        };
        write_value(family, value, length, text).expect("a String takes everything");
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

/// The elements of a text with one in each line. '#' begins a comment. `Err` is the number of a line, from 1 on, and what is in it.
pub fn from_lines(shape: Shape, text: &str) -> Result<Items, (usize, &str, Wrong)> {
    let mut items = Items::new(shape, text.len() / 16);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split_once('#').map_or(line, |(element, _)| element).trim_ascii();
        if !line.is_empty() {
            items.push(from_text(shape, line).map_err(|wrong| (number, line, wrong))?);
        }
    }
    Ok(items)
}
