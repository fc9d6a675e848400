# SPDX-License-Identifier: Apache-2.0
"""`offramp demo`: see it work, without a NIC."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from offramp.cli.interrupts import raising
from offramp.cli.parameters import AsJson, flag
from offramp.options import Option
from offramp.options.kinds import Duration

__all__ = ["demo"]

_SECONDS = Option("seconds", Duration(0.5, 60), "how long the flood lasts for each of the four", default=5.0)


def demo(
    as_json: AsJson = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            show_default=False,
            help="Where to draw the result.  [default: offramp-demo.png; with --json nowhere]",
        ),
    ] = None,
    seconds: Annotated[str | None, flag(_SECONDS)] = None,
) -> None:
    """See it work between two virtual hosts.

    One host floods a UDP port of the other, while an HTTP client keeps fetching through the same interface. The flood
    goes in turn to a kernel socket, to iptables, to offramp in user space and to offramp in the driver. The demo takes
    less than a minute, needs root, and changes nothing on this machine: it runs in its own network namespaces.
    """
    from offramp.demo import run

    flood = _SECONDS.default if seconds is None else _SECONDS.typed(seconds)
    with raising():
        status = run(as_json=as_json, plot=plot, seconds=flood)
    raise typer.Exit(status)
