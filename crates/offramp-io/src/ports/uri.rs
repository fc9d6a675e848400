// SPDX-License-Identifier: Apache-2.0
//! The names of ports: `[WRAPPER[,KEY=VALUE...]+]KIND:TARGET[,KEY=VALUE...]`.
//!
//! ```text
//!   null:    loop:a    af_xdp:eth0,queue=1    trace,file=x.txt+loop:a    trace+faults,drop=0.1,seed=7+null:
//! ```
//!
//! A wrapper and its values end at `+`, a target ends at the first comma. Nothing is quoted, so a value with a comma
//! can only be given by a program.

use super::options::{Given, Options};
use crate::error::Error;

pub const SYNTAX: &str = "[WRAPPER[,KEY=VALUE...]+]KIND:TARGET[,KEY=VALUE...], as in \"af_xdp:eth0,queue=1\"";

/// A name with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub options: Options,
}

/// What a URI says. Whether such a port exists is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// The outermost first.
    pub wrappers: Vec<Named>,
    pub kind: Named,
    pub target: String,
}

pub fn parse(uri: &str) -> Result<Uri, Error> {
    let mut wrappers = Vec::new();
    let mut rest = uri;
    loop {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
        let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
        if name.is_empty() {
            return Err(wrong(uri, &format!("a name is missing before {rest:?}")));
        }
        if let Some(after) = after.strip_prefix(':') {
            let (target, options) = after.split_once(',').map_or((after, None), |(t, o)| (t, Some(o)));
            return Ok(Uri {
                wrappers,
                kind: Named {
                    name: name.into(),
                    options: pairs(uri, options)?,
                },
                target: target.into(),
            });
        }
        let Some((options, next)) = after.split_once('+') else {
            return Err(wrong(uri, &format!("no \":\" after {name:?}, nor \"+\" and a port")));
        };
        let options = match options.strip_prefix(',') {
            None if !options.is_empty() => return Err(wrong(uri, &format!("{options:?} after {name:?}"))),
            options => pairs(uri, options)?,
        };
        wrappers.push(Named {
            name: name.into(),
            options,
        });
        rest = next;
    }
}

fn pairs(uri: &str, text: Option<&str>) -> Result<Options, Error> {
    let mut options = Options::default();
    for pair in text.into_iter().flat_map(|text| text.split(',')) {
        match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => options.push(key, Given::Text(value.into())),
            _ => return Err(wrong(uri, &format!("{pair:?} is not KEY=VALUE"))),
        }
    }
    Ok(options)
}

fn wrong(uri: &str, why: &str) -> Error {
    Error::option(format!("port {uri:?}: {why}"), SYNTAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(uri: &str) -> (Vec<String>, String, String) {
        let uri = parse(uri).unwrap();
        let names = uri.wrappers.iter().map(|wrapper| wrapper.name.clone()).collect();
        (names, uri.kind.name, uri.target)
    }

    fn given(pairs: &[(&str, &str)]) -> Options {
        let mut options = Options::default();
        for &(key, text) in pairs {
            options.push(key, Given::Text(text.into()));
        }
        options
    }

    #[test]
    fn kinds_targets_and_wrappers() {
        let of = |wrappers: &[&str], kind: &str, target: &str| {
            let wrappers = wrappers.iter().map(|&name| name.to_owned()).collect();
            (wrappers, kind.to_owned(), target.to_owned())
        };
        assert_eq!(shown("null:"), of(&[], "null", ""));
        assert_eq!(shown("af_xdp:eth0,queue=1"), of(&[], "af_xdp", "eth0"));
        assert_eq!(shown("trace,file=a:b.txt+loop:a"), of(&["trace"], "loop", "a"));
        assert_eq!(
            shown("trace+faults,drop=0.1,seed=7+null:"),
            of(&["trace", "faults"], "null", "")
        );
        assert_eq!(shown("pcap:/a+b/c.pcap"), of(&[], "pcap", "/a+b/c.pcap"));
    }

    #[test]
    fn options_go_to_whom_they_follow() {
        let uri = parse("faults,drop=0.1,seed=7+af_xdp:eth0,queue=1,queue=3,copying=").unwrap();
        assert_eq!(uri.wrappers[0].options, given(&[("drop", "0.1"), ("seed", "7")]));
        assert_eq!(
            uri.kind.options,
            given(&[("queue", "1"), ("queue", "3"), ("copying", "")])
        );
    }

    #[test]
    fn what_is_no_uri_is_quoted() {
        for (uri, why) in [
            ("", "port \"\": a name is missing before \"\""),
            ("null", "port \"null\": no \":\" after \"null\", nor \"+\" and a port"),
            ("null:,", "port \"null:,\": \"\" is not KEY=VALUE"),
            ("null:,queues", "port \"null:,queues\": \"queues\" is not KEY=VALUE"),
            ("null:,=1", "port \"null:,=1\": \"=1\" is not KEY=VALUE"),
            ("trace+", "port \"trace+\": a name is missing before \"\""),
            ("trace=x+null:", "port \"trace=x+null:\": \"=x\" after \"trace\""),
            (":eth0", "port \":eth0\": a name is missing before \":eth0\""),
        ] {
            assert_eq!(parse(uri).unwrap_err().to_string(), why);
        }
    }
}
