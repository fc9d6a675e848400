# SPDX-License-Identifier: Apache-2.0
"""`offramp doctor`: what can this machine do, and what stands in the way."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from offramp.cli.parameters import AsJson
from offramp.errors import InterfaceError, OptionError
from offramp.text import printable

if TYPE_CHECKING:
    from offramp.cli.checks import Check
    from offramp.facts.link import Link

__all__ = ["doctor"]

_COLOURS = {"ok": "green", "warn": "yellow", "missing": "red", "unknown": "cyan"}


def doctor(
    interface: Annotated[
        str | None,
        typer.Argument(metavar="INTERFACE", show_default=False, help="If not given: all interfaces, in short."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also measure how long the carrier is gone when XDP is attached.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find out what works here. Changes nothing, except with --measure.

    \b
    offramp doctor
    offramp doctor eth0
    offramp doctor eth0 --json
    offramp doctor eth0 --measure

    Each line is ok, warn (it works, but with a cost or limit), missing (it is in the way) or unknown (it could not be
    found out, and why). Exit status: 0 if nothing is in the way of `offramp run INTERFACE` or, without an interface, of
    `offramp run` on any of them; else 1. Kernel features are tried, not guessed from a version; without privileges
    fewer can be tried. --measure attaches a program that passes everything, for a second. Some drivers reset their link
    for it, and traffic is interrupted. It needs root, or what `offramp run` needs.
    """
    from offramp.cli.checks import flap_checks, interface_checks, machine_checks
    from offramp.nic import read

    if measure and interface is None:
        raise OptionError("--measure without an interface", reason="it might reset the link of each")
    links = [read(interface)] if interface is not None else _all_links()
    machine = machine_checks()
    found = {link.name: interface_checks(link) for link in links}
    if measure and interface is not None:
        found[links[0].name] += flap_checks(interface)
    ready = {name: _nothing_missing([*machine, *checks]) for name, checks in found.items()}
    if as_json:
        _print_json(machine, found, ready)
    else:
        _print(machine, found, in_full=interface is not None)
    if not (all(ready.values()) if interface is not None else _nothing_missing(machine)):
        raise typer.Exit(1)


def _all_links() -> list[Link]:
    from offramp.nic import read
    from offramp.nic.device import interfaces

    links = []
    for _, name in interfaces():
        with suppress(InterfaceError):  # it was removed just now
            links.append(read(name))
    return links


def _nothing_missing(checks: Sequence[Check]) -> bool:
    return all(check.status != "missing" for check in checks)


def _print_json(machine: list[Check], found: dict[str, list[Check]], ready: dict[str, bool]) -> None:
    interfaces = [
        {"name": name, "ready": ready[name], "checks": [asdict(check) for check in checks]}
        for name, checks in found.items()
    ]
    print(json.dumps({"machine": [asdict(check) for check in machine], "interfaces": interfaces}))


def _print(machine: list[Check], found: dict[str, list[Check]], *, in_full: bool) -> None:
    system = platform.uname()
    _print_checks(f"this machine: {system.system} {system.release}, {os.cpu_count()} CPUs", machine)
    if not in_full:
        _print_checks("interfaces", [_in_short(name, checks) for name, checks in found.items()])
        return
    for name, checks in found.items():
        _print_checks(name, checks)
        obstacles = [check.name for check in (*machine, *checks) if check.status == "missing"]
        state = f"in the way: {', '.join(obstacles)}" if obstacles else "ready for offramp run"
        print(f"\n{printable(name)}: {state}")


def _in_short(name: str, checks: list[Check]) -> Check:
    """An interface in one line: what is in the way or, if nothing is, the planner's answer."""
    from offramp.cli.checks import Check

    first, *_, last = checks
    obstacle = next((check for check in checks[1:] if check.status == "missing"), last)
    text = first.text if first.status == "missing" else f"{first.text}; {obstacle.name}: {obstacle.text}"
    worst = "missing" if not _nothing_missing(checks) else last.status
    return Check(name, worst, text, first.remedy or obstacle.remedy)


def _print_checks(title: str, checks: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    console.print(Text(f"\n{printable(title)}", style="bold"))
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        remedy = f" ({check.remedy})" if check.remedy else ""
        line = Text(f"  {check.status:<8} ", style=_COLOURS[check.status])
        line.append(printable(f"{check.name:<{width}}  {check.text}{remedy}".rstrip()), style="default")
        console.print(line)
