// SPDX-License-Identifier: Apache-2.0
//! The registry: the kinds of ports, and the wrappers that can be put around them. One line each.

pub mod af_xdp;
pub mod around;
pub mod faults;
pub mod kind;
pub mod loopback;
pub mod memory;
pub mod null;
pub mod options;
pub mod suggestion;
pub mod tracer;
pub mod uri;
pub mod values;

use kind::{Kind, Wrapper};
use options::Given;
use suggestion::suggestion;
use uri::Named;

use crate::error::Error;
use crate::port::Port;

#[rustfmt::skip]
pub const KINDS: &[Kind] = &[
    af_xdp::KIND,
    loopback::KIND,
    null::KIND,
];

#[rustfmt::skip]
pub const WRAPPERS: &[Wrapper] = &[
    faults::WRAPPER,
    tracer::WRAPPER,
];

/// Opens the port that `uri` names. `options`: more options for its kind.
pub fn open(uri: &str, options: Vec<(String, Given)>) -> Result<Port, Error> {
    let mut named = uri::parse(uri)?;
    for (key, value) in options {
        named.kind.options.push(key, value);
    }
    let kind = find(KINDS, |kind| kind.name, &named.kind.name, "kinds", uri)?;
    named.kind.options.check(&format!("{}:", kind.name), kind.options)?;
    let wrappers: Result<Vec<(&Wrapper, &Named)>, Error> = named
        .wrappers
        .iter()
        .map(|given| {
            let wrapper = find(WRAPPERS, |wrapper| wrapper.name, &given.name, "wrappers", uri)?;
            given.options.check(wrapper.name, wrapper.options)?;
            Ok((wrapper, given))
        })
        .collect();
    let wrappers = wrappers?; // before anything is opened
    let mut parts = (kind.open)(&named.target, &named.kind.options)?;
    for (wrapper, given) in wrappers.into_iter().rev() {
        parts.queues = (wrapper.wrap)(parts.queues, &given.options)?;
    }
    Ok(Port::new(parts))
}

fn find<T>(
    list: &'static [T],
    name_of: fn(&T) -> &'static str,
    name: &str,
    what: &str,
    uri: &str,
) -> Result<&'static T, Error> {
    let missing = || {
        let names: Vec<&str> = list.iter().map(name_of).collect();
        Error::option(
            format!("port {uri:?}: no {name:?} among the {what} of ports"),
            suggestion(name, &names, what),
        )
    };
    list.iter().find(|entry| name_of(entry) == name).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(uri: &str) -> (String, String) {
        match open(uri, Vec::new()).err() {
            Some(Error::Option { what, hint }) => (what, hint),
            other => panic!("{uri}: {other:?}"),
        }
    }

    #[test]
    fn names_are_unique_and_sorted() {
        assert!(KINDS.is_sorted_by(|one, other| one.name < other.name));
        assert!(WRAPPERS.is_sorted_by(|one, other| one.name < other.name));
    }

    #[test]
    fn the_syntax_has_every_option_that_a_name_can_have() {
        let syntaxes: Vec<String> = KINDS.iter().map(Kind::syntax).collect();
        assert_eq!(
            syntaxes,
            [
                "af_xdp:IFACE[,queue=N]...[,copying=auto|copy|zero-copy][,frames=N][,frame_size=N][,ring=N]",
                "loop:[NAME][,frames=N][,frame_size=N][,ring=N]",
                "null:[,repeat=yes|no][,queues=N][,frames=N][,frame_size=N][,ring=N]",
            ]
        );
        assert_eq!(WRAPPERS[1].syntax(), "trace[,file=PATH]+...");
    }

    #[test]
    fn what_is_unknown_is_quoted_and_the_nearest_suggested() {
        let (what, hint) = complaint("nul:");
        assert_eq!(what, "port \"nul:\": no \"nul\" among the kinds of ports");
        assert!(hint.starts_with("did you mean \"null\"? kinds: "));
        let (what, hint) = complaint("null:,queue=1");
        assert_eq!(what, "queue=: null: has no such option");
        assert!(hint.starts_with("did you mean \"queues\"? options: "));
        let (what, hint) = complaint("tracer+null:");
        assert_eq!(what, "port \"tracer+null:\": no \"tracer\" among the wrappers of ports");
        assert!(hint.starts_with("did you mean \"trace\"?"));
        assert_eq!(complaint("faults,dorp=1+null:").0, "dorp=: faults has no such option");
        assert_eq!(complaint("faults,drop=7+null:").0, "drop=7: not from 0 to 1");
        assert_eq!(complaint("null:,ring=7").0, "ring=7: not a power of two up to 65536");
    }

    #[test]
    fn wrappers_are_told_in_the_order_they_were_given() {
        let port = open("trace,file=/dev/null+faults,seed=1+null:,queues=2", Vec::new()).unwrap();
        assert_eq!(port.queues(), 2);
        assert_eq!(port.facts(1).modes, ["trace", "faults"]);
        assert_eq!(port.facts(1).kind, "null");
    }
}
