# SPDX-License-Identifier: Apache-2.0
"""`offramp plan`: EXPLAIN for packets."""

from __future__ import annotations

import json
import math
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from offramp.cli.matching import content, matching
from offramp.cli.options import (
    AsJson,
    Copying,
    Do,
    File,
    Frames,
    Interface,
    Layout,
    Mode,
    NoProtect,
    Observe,
    Probe,
    Queue,
    Require,
    Ring,
    Sets,
    Share,
    Stall,
    Vf,
    WhatToDo,
    Words,
    chosen,
)
from offramp.errors import OptionError

if TYPE_CHECKING:
    from offramp.facts.capabilities import Capabilities
    from offramp.matcher import Match
    from offramp.planner import Options, Plan
    from offramp.verdict import Verdict

__all__ = ["capabilities_of", "plan"]

_LARGEST = 1 << 24  # bytes of a file of capabilities


def plan(
    interface: Interface,
    match: Words = None,
    file: File = None,
    do: WhatToDo = Do.COUNT,
    as_json: AsJson = False,
    caps: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DRIVER",
            show_default=False,
            help="Plan for an interface that is not here: what `offramp nic IFACE --json` said there, or a driver "
            "(ixgbe, i40e, ice, mlx5, igb, ena, gve, virtio-net, veth).",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="PPS", show_default=False, help="Matching packets a second: how many cores they need."),
    ] = None,
    layout: Layout = None,
    mode: Mode = None,
    copying: Copying = None,
    require: Require = None,
    queue: Queue = None,
    vf: Vf = None,
    observe: Observe = None,
    probe: Probe = False,
    share: Share = None,
    frames: Frames = None,
    ring: Ring = None,
    stall: Stall = None,
    no_protect: NoProtect = False,
    sets: Sets = None,
) -> None:
    """Explain what `run` would do. Changes nothing.

    \b
    offramp plan eth0 udp dst port 53
    offramp plan eth0 'tcp and (port 80 or port 443)' --do drop --json
    offramp plan eth2 ip and udp dst port 4321 --caps ixgbe --rate 12e6

    Needs no privileges, except to find SSH servers on other ports than 22 (root), which are to be protected.
    """
    from offramp.planner import explain, needed
    from offramp.ramp.planned import plan_for

    options = chosen(
        do,
        mode=mode,
        copying=copying,
        require=require,
        queue=queue,
        frames=frames,
        ring=ring,
        stall=stall,
        no_protect=no_protect,
        layout=layout,
        vf=vf,
        observe=observe,
        probe=probe,
        share=share,
    )
    if rate is not None and not 0 < rate < math.inf:
        raise OptionError(f"--rate {rate:g}", reason="not above zero")
    packets = matching(match, file, sets)
    made = (
        plan_for(interface, packets, do.verdict, options)
        if caps is None
        else _elsewhere(capabilities_of(caps), interface, packets, do.verdict, options)
    )
    if as_json:
        print(json.dumps(made.to_dict() | ({} if rate is None else {"rate": rate} | needed(made, rate))))
    else:
        print(explain(made, rate))


def _elsewhere(known: Capabilities, interface: str, match: Match, verdict: Verdict, options: Options) -> Plan:
    """The SSH sessions of this machine are not those of that one: port 22 is what is protected."""
    from offramp.facts.imagined import imagined
    from offramp.facts.ssh import Ssh
    from offramp.planner import assume, make_plan

    able, assumed = assume(known, interface)
    ssh = Ssh((), ()) if options.protect else None
    return make_plan(match.node, verdict, imagined(able), options, ssh, able, assumed=assumed)


def capabilities_of(text: str) -> Capabilities:
    """Of a driver by name, or of a file as `offramp nic IFACE --json` writes it. Errors: OptionError."""
    from offramp.facts.records import DRIVERS, from_dict, record

    found = record(text)
    if found is not None:
        return found
    try:
        written = content(f"--caps {text}: no driver that is known, and as a file", text, _LARGEST)
    except OptionError as error:
        similar = get_close_matches(text, DRIVERS, 1)
        error.hint = f"did you mean {similar[0]}?" if similar else f"known are {', '.join(DRIVERS)}"
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
