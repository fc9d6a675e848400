# SPDX-License-Identifier: Apache-2.0
"""The demo's result: one dictionary, printed as JSON or as a table.

    {"contenders": [{"name", "sent", "received", "lost", "pps", "cpu_ns_per_packet",
                     "http": {"requests", "errors", "p99_ms", ...}, ...}, ...],
                            a skipped one has "skipped", why, and null for figures
     "ledger": {...},       of offramp-user, at rest: see offramp.ramp.ledger
     "baseline": {...},     HTTP without a flood
     "placement": {...}, "machine": {...}, "notes": [...]}

In a contender: counts of packets; `refused` of the `lost` by the interface's full ring, the others behind it; `pps`
received and `offered_pps` sent each second; CPU time in ns per packet received, of the contender's process
(`cpu_ns_receiver`) and of the kernel's receive thread (`cpu_ns_softirq`); `foreign_cpu`, the share of the machine that
other programs used meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from offramp.bench.scene import Placement
from offramp.demo.stage import Round, Skipped
from offramp.demo.web import INTERVAL

__all__ = ["exact", "print_json", "print_table", "summary"]

FIGURES = ("sent", "received", "lost", "pps", "cpu_ns_per_packet", "http")
HEADINGS = (
    "offered\nMpps",
    "accepted\nMpps",
    "lost\n%",
    "CPU ns/packet\nsoftirq+process",
    "HTTP\nreq/s",
    "\nerrors",
    "p99\nms",
)
NOTES = (
    (
        "CPU {a} is host a's: flood and HTTP client. CPU {b} is host b's: NAPI, contender and HTTP server."
        " What shares a CPU takes turns of some ms, and they are in every p99"
    ),
    (
        "open loop: the flood never waits for the receiver, and what the interface's full ring refuses counts as lost;"
        " a request is timed from when it was due"
    ),
    (
        "HTTP arrives in a receive queue of its own, as RSS would have it: in a queue that overflows, HTTP's packets"
        " would be lost, too, before any contender could help"
    ),
)
DISTURBED = 0.05  # of the machine


def summary(
    rounds: Sequence[Round | Skipped], quiet: dict[str, Any], placement: Placement, machine: dict[str, object]
) -> dict[str, Any]:
    """All that is known, as plain data."""
    ledgers = {played.name: played.ledger for played in rounds if isinstance(played, Round)}
    return {
        "contenders": [_contender(played) for played in rounds],
        "ledger": ledgers.get("offramp-user"),
        "driver_ledger": ledgers.get("offramp-driver"),
        "baseline": quiet,
        "placement": {
            "flood": placement.flood,
            "http_client": placement.flood,
            "napi": placement.reader,
            "contender": placement.reader,
            "http_server": placement.reader,
        },
        "machine": machine,
        "notes": _notes(rounds, placement),
    }


def exact(result: dict[str, Any]) -> bool:
    """Whether offramp's own accounts add up."""
    return all(ledger is None or bool(ledger["exact"]) for ledger in (result["ledger"], result["driver_ledger"]))


def print_json(result: dict[str, Any]) -> None:
    print(json.dumps(result, indent=2))


def print_table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row("no flood", "", "", "", "", *_http_cells(result["baseline"]), style="dim")
    for contender in result["contenders"]:
        style = "bold green" if contender["name"].startswith("offramp") else ""
        table.add_row(Text(contender["name"]), *_cells(contender), style=style)
    console = Console(highlight=False)
    console.print(table)
    for contender in result["contenders"]:
        if "skipped" in contender:
            console.print(
                f"{contender['name']} was skipped: {contender['skipped']} ({contender['remedy']})", markup=False
            )
    console.print()
    for note in result["notes"]:
        console.print(f"- {note}", markup=False)
    console.print(f"- {_ledger_line(result)}", markup=False)
    if "plot" in result:
        console.print(f"- drawn in {result['plot']}", markup=False)


def _contender(played: Round | Skipped) -> dict[str, Any]:
    if isinstance(played, Skipped):
        return asdict(played) | dict.fromkeys(FIGURES)
    return played.to_dict()


def _cells(contender: dict[str, Any]) -> list[str]:
    if "skipped" in contender:
        return ["-"] * 7
    cost = [contender[name] for name in ("cpu_ns_softirq", "cpu_ns_receiver")]
    return [
        f"{contender['offered_pps'] / 1e6:.2f}",
        f"{contender['pps'] / 1e6:.2f}",
        f"{100 * contender['lost'] / contender['sent']:.0f}",
        "+".join(f"{ns:,.0f}" if ns is not None else "-" for ns in cost),
        *_http_cells(contender["http"]),
    ]


def _http_cells(http: dict[str, Any]) -> list[str]:
    seconds = http["due"] * INTERVAL
    return [f"{http['requests'] / seconds:.0f}", f"{http['errors']}", f"{http['p99_ms']:.1f}"]


def _ledger_line(result: dict[str, Any]) -> str:
    ledger = result["ledger"]
    if ledger is None:
        return "no ledger: offramp-user did not take part"
    verdict = "it adds up" if ledger["exact"] else "IT DOES NOT ADD UP: a bug in offramp"
    return (
        f"offramp-user's ledger: {ledger['seen']:,} seen = {ledger['passed']:,} passed to the kernel"
        f" + {ledger['received']:,} received + {ledger['lost']:,} lost behind XDP"
        f" + {ledger['seen'] - ledger['passed'] - ledger['received'] - ledger['lost']:,} other; {verdict}"
    )


def _notes(rounds: Sequence[Round | Skipped], placement: Placement) -> list[str]:
    """What a reader has to know about the figures."""
    notes = [note.format(a=placement.flood, b=placement.reader) for note in NOTES]
    if placement.flood == placement.reader:
        notes.append("there is one CPU only: flood and receiver take turns, and the flood offers less than it could")
    foreign = max((played.window.foreign for played in rounds if isinstance(played, Round)), default=0.0)
    if foreign > DISTURBED:
        notes.append(f"other programs used up to {foreign:.0%} of this machine meanwhile: repeat it when it is quiet")
    return notes
