# SPDX-License-Identifier: Apache-2.0
"""`offramp plan`: EXPLAIN for packets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offramp.arguments import meant
from offramp.cli.matching import content, matching, with_own
from offramp.cli.parameters import AsJson, Do, File, Interface, Sets, WhatToDo, Words, chosen, flag, with_options
from offramp.errors import OptionError
from offramp.facts.records import DRIVERS
from offramp.options import Option
from offramp.options.kinds import Real

if TYPE_CHECKING:
    from offramp.facts.capabilities import Capabilities
    from offramp.matcher import Match
    from offramp.options import Options
    from offramp.planner import Plan
    from offramp.verdict import Verdict

__all__ = ["capabilities_of", "plan"]

_LARGEST = 1 << 24  # the most that a file of capabilities may have, in bytes

_RATE = Option("rate", Real(1, 1e12, "PPS"), "matching packets per second, to show how many cores they need")


@with_options
def plan(
    interface: Interface,
    match: Words = None,
    file: File = None,
    sets: Sets = None,
    do: WhatToDo = Do.COUNT.value,
    as_json: AsJson = False,
    caps: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DRIVER",
            show_default=False,
            help="Plan for an interface that is not here: what `offramp nic IFACE --json` said there, or a driver "
            f"({', '.join(DRIVERS)}).",
        ),
    ] = None,
    rate: Annotated[str | None, flag(_RATE)] = None,
    **typed: Any,
) -> None:
    """Explain what `run` would do. Changes nothing.

    \b
    offramp plan eth0 udp dst port 53
    offramp plan eth0 'tcp port 80 or 443' --do drop --json
    offramp plan eth2 udp port 53 --caps ixgbe --rate 12e6

    Needs no privileges, except to find SSH on other ports than 22, which has to be protected (root).
    """
    from offramp.planner import explain, needed
    from offramp.ramp.planned import plan_for

    what = Do.typed(do)
    options = chosen(what, typed)
    pps = None if rate is None else _RATE.typed(rate)
    packets = matching(match, file, sets, options)
    options = with_own(options, sets)
    made = (
        plan_for(interface, packets, what.verdict, options)
        if caps is None
        else _elsewhere(capabilities_of(caps), interface, packets, what.verdict, options)
    )
    if as_json:
        print(json.dumps(made.to_dict() | ({} if pps is None else {"rate": pps} | needed(made, pps))))
    else:
        print(explain(made, pps))


def _elsewhere(known: Capabilities, interface: str, match: Match, verdict: Verdict, options: Options) -> Plan:
    """A plan for another machine. What is found on this one is not there: only what is always protected is."""
    from offramp.facts.found import Found
    from offramp.facts.imagined import imagined
    from offramp.planner import Situation, assume, make_plan
    from offramp.ramp.planned import protection_for
    from offramp.ramp.wanted import Wanted

    able, assumed = assume(known, interface)
    return make_plan(
        Situation(
            match.node,
            verdict,
            imagined(able),
            options,
            protection_for(Wanted(match, verdict, options), Found, None),
            able,
            names=match.names,
            can_match=match.can_match(),
            assumed=assumed,
        )
    )


def capabilities_of(text: str) -> Capabilities:
    """The capabilities of a driver by name, or from a file by `offramp nic IFACE --json`. Errors: OptionError."""
    from offramp.facts.records import from_dict, record

    found = record(text)
    if found is not None:
        return found
    try:
        written = content(f"--caps {text}: not a known driver, and read as a file", text, _LARGEST)
    except OptionError as error:
        error.hint = meant(text, DRIVERS) or f"the known drivers are {', '.join(DRIVERS)}"
        raise
    try:
        if len(written) > _LARGEST:
            raise ValueError("too long")
        value = json.loads(written)
    except (ValueError, RecursionError):
        raise OptionError(f"--caps {text}", reason="not JSON", hint="offramp nic IFACE --json writes it") from None
    if isinstance(value, dict) and "capabilities" in value:
        value = value["capabilities"]
    if not isinstance(value, dict):
        raise OptionError(f"--caps {text}", reason="not an object", hint="offramp nic IFACE --json writes it")
    return from_dict(value)
