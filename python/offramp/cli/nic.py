# SPDX-License-Identifier: Apache-2.0
"""`offramp nic`: how an interface receives and how fast, and changes to it."""

from __future__ import annotations

import json
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from offramp.cli.interrupts import noted, raising
from offramp.cli.parameters import AsJson, Interface, flag, for_time
from offramp.errors import OptionError
from offramp.text import printable

if TYPE_CHECKING:
    from offramp.facts.capabilities import Capabilities
    from offramp.nic.live import LiveNic
    from offramp.nic.rates import Rates

__all__ = ["nic"]

_FOR = for_time("undo the change after this time: 60s, 5m or 2h")
_TURN = 0.05  # seconds until a signal is noticed
_CLEAR = "\x1b[H\x1b[2J"


def nic(
    interface: Interface,
    change: Annotated[list[str] | None, typer.Argument(metavar="CHANGE", show_default=False, help="See above.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")] = False,
    for_: Annotated[str | None, flag(_FOR)] = None,
    as_json: AsJson = False,
) -> None:
    """Show an interface's queues, RSS, rules, VFs and rates, or change them.

    \b
    offramp nic eth0
    offramp nic eth0 --watch
    offramp nic eth0 rss equal 4           over queues 0 to 3
    offramp nic eth0 rss without 3         over all but 3
    offramp nic eth0 rss fields udp4 sdfn  UDP by ports, too
    offramp nic eth0 steer flow-type udp4 dst-port 53 action 3
    offramp nic eth0 steer delete 1023 --for 60s
    offramp nic eth0 vf count 2
    offramp nic eth0 vf 0 mac 02:00:00:00:00:10 trust on
    offramp nic 0000:02:10.0 bind vfio-pci

    \b
    CHANGE is one of
      rss equal N [start QUEUE]
      rss weight W... [start QUEUE]
      rss without QUEUE...
      rss key HEX, rss function NAME
      rss fields FLOW LETTERS
      steer RULE             in ethtool's words
      steer delete LOCATION
      vf count N
      vf autoprobe on|off
      vf N mac ADDRESS       or, several at once:
           vlan ID [qos P]
           trust on|off
           spoofchk on|off
      bind DRIVER|none

    A change is written to the journal before it is made. It stays until `offramp restore`. With --for TIME it is undone
    after that time, or earlier if this process ends. With --watch --json, each second is one object on one line.
    Showing needs no privileges; changing needs CAP_NET_ADMIN (vf count and bind: root).
    """
    from offramp.nic.live import open_nic

    seconds = None if for_ is None else _FOR.typed(for_)
    device = open_nic(interface)
    if change:
        if watch:
            raise OptionError("--watch with a change", reason="they exclude each other")
        with raising():
            _change(device, change, seconds, as_json=as_json)
    elif seconds is not None:
        raise OptionError("--for without a change", reason="there is nothing to take back")
    else:
        _show(device, forever=watch, as_json=as_json)


def _show(device: LiveNic, *, forever: bool, as_json: bool) -> None:
    from offramp.nic.rates import RateMeter

    meter = RateMeter(device.name, device.identity.ifindex)
    watching: AbstractContextManager[list[int]] = noted() if forever else nullcontext([])
    with watching as signals:
        while _slept(signals):
            able, rates = device.capabilities(), meter.rates()
            _show_one(device, able, rates, forever=forever, as_json=as_json)
            if not forever:
                return


def _slept(signals: list[int]) -> bool:
    """Sleep for a second; False if a signal came meanwhile."""
    due = time.monotonic() + 1
    while not signals and (left := due - time.monotonic()) > 0:
        time.sleep(min(_TURN, left))
    return not signals


def _show_one(device: LiveNic, able: Capabilities, rates: Rates, *, forever: bool, as_json: bool) -> None:
    from offramp.cli.nic_view import text, to_dict
    from offramp.nic.ethtool import drvinfo

    if as_json:
        print(json.dumps(to_dict(device.identity, able, rates)), flush=True)
    else:
        page = text(device.identity, drvinfo(device.name), able, rates)
        print(f"{_CLEAR}{page}" if forever and sys.stdout.isatty() else page, flush=True)


def _change(device: LiveNic, words: list[str], seconds: float | None, *, as_json: bool) -> None:
    from offramp.cli.nic_words import changes_of
    from offramp.journal import apply, short

    wanted = changes_of(device, words)
    before = {knob: device.get(knob) for knob, _ in wanted}
    changes = [(knob, value) for knob, value in wanted if before[knob] != value]

    def made() -> None:
        for knob, value in () if as_json else changes:
            print(printable(f"{knob}: {short(before[knob])} -> {short(value)}"), flush=True)

    report = apply(device, changes, for_=seconds, made=made) if changes else "nothing to change: already set"
    if as_json:
        told = [{"knob": knob, "before": before[knob], "after": value} for knob, value in changes]
        print(json.dumps({"interface": device.identity.name, "changes": told, "for": seconds}))
    else:
        print(report if report is not None else "stays until `offramp restore`")
