# SPDX-License-Identifier: Apache-2.0
"""`offramp nic`: how an interface receives, how fast, and what to change about it."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from offramp.cli.options import AsJson, Interface

if TYPE_CHECKING:
    from offramp.nic.live import LiveNic

__all__ = ["nic"]

_CLEAR = "\x1b[H\x1b[2J"


def nic(
    interface: Interface,
    change: Annotated[
        list[str] | None, typer.Argument(metavar="[CHANGE...]", show_default=False, help="See below.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every second, until Ctrl-C.")] = False,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", show_default=False, help="Change it back after 60s, 5m or 2h."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show an interface's queues, RSS, rules, VFs and rates, or change them.

    \b
    offramp nic eth0
    offramp nic eth0 --watch
    offramp nic eth0 rss equal 4                       over queues 0 to 3
    offramp nic eth0 rss without 3                     over all but queue 3
    offramp nic eth0 rss fields udp4 sdfn              hash UDP by its ports, too
    offramp nic eth0 steer flow-type udp4 dst-port 53 action 3 --for 60s
    offramp nic eth0 steer delete 1023
    offramp nic eth0 vf count 2
    offramp nic eth0 vf 0 mac 02:00:00:00:00:10 trust on
    offramp nic 0000:02:10.0 bind vfio-pci

    \b
    CHANGE is one of
      rss    equal N | weight W... | without QUEUE... [start QUEUE], key HEX, function NAME, fields FLOW LETTERS
      steer  a rule in ethtool's words, or delete LOCATION
      vf     count N, autoprobe on|off, N with mac, vlan ID [qos P], trust on|off, spoofchk on|off
      bind   a driver, or none

    A change is written to the journal before it is made. It stays until `offramp restore`, or is taken back after
    --for TIME, and also if this process ends earlier. Showing needs no privileges, changing CAP_NET_ADMIN (vf count,
    bind: root).
    """
    from offramp.errors import OptionError
    from offramp.nic.live import open_nic

    seconds = _seconds(for_)
    device = open_nic(interface)
    if change:
        if watch:
            raise OptionError("--watch with a change", reason="they exclude each other")
        _change(device, change, seconds, as_json=as_json)
    elif seconds is not None:
        raise OptionError("--for without a change", reason="there is nothing to take back")
    else:
        _show(device, forever=watch, as_json=as_json)


def _show(device: LiveNic, *, forever: bool, as_json: bool) -> None:
    from offramp.cli.nic_view import text, to_dict
    from offramp.nic.ethtool import drvinfo
    from offramp.nic.rates import Meter

    meter = Meter(device.name, device.identity.ifindex)
    while True:
        time.sleep(1)
        able, rates = device.capabilities(), meter.rates()
        if as_json:
            print(json.dumps(to_dict(device.identity, able, rates)), flush=True)
        else:
            page = text(device.identity, drvinfo(device.name), able, rates)
            print(f"{_CLEAR}{page}" if forever and sys.stdout.isatty() else page, flush=True)
        if not forever:
            return


def _change(device: LiveNic, words: list[str], seconds: float | None, *, as_json: bool) -> None:
    from offramp.cli.nic_words import changes_of
    from offramp.journal import apply, short

    wanted = changes_of(device, words)
    before = {knob: device.get(knob) for knob, _ in wanted}
    changes = [(knob, value) for knob, value in wanted if before[knob] != value]

    def made() -> None:
        for knob, value in () if as_json else changes:
            print(f"{knob}: {short(before[knob])} -> {short(value)}", flush=True)

    report = apply(device, changes, for_=seconds, made=made) if changes else "nothing to change: it is so already"
    if as_json:
        told = [{"knob": knob, "before": before[knob], "after": value} for knob, value in changes]
        print(json.dumps({"interface": device.identity.name, "changes": told, "for": seconds}))
    else:
        print(report if report is not None else "stays until `offramp restore`")


def _seconds(text: str | None) -> float | None:
    """`90`, `60s`, `5m`, `2h`. Errors: OptionError."""
    from offramp.errors import OptionError

    if text is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        seconds = float(text if unit is None else text[:-1]) * (unit or 1)
        if not 0 < seconds < 1e7:
            raise ValueError(text)
    except ValueError:
        raise OptionError(f"--for {text}", reason="not a time like 60s, 5m or 2h") from None
    return seconds
