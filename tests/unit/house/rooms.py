# SPDX-License-Identifier: Apache-2.0
"""The plan of the house, as data: the rooms, what each is for, and which others it may import.

ARCHITECTURE.md shows it; `python -m tests.unit.house.rooms` writes it there anew. test_laws.py holds the sources to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

__all__ = ["GROUND", "PAGE", "ROOMS", "Room", "drawn", "picture"]

PAGE = Path(__file__).parents[3] / "ARCHITECTURE.md"
_BEGIN, _END = "<!-- rooms: written by tests/unit/house/rooms.py -->\n", "<!-- end of rooms -->\n"


@dataclass(frozen=True)
class Room:
    """A folder of python/offramp, or a file of its ground floor."""

    job: str
    imports: tuple[str, ...] = ()  # beside the ground; what it may import, type imports and late imports included
    pure: bool = False  # no I/O: it can be printed, compared and tested without a kernel, a NIC or root


GROUND = {
    "errors": Room("the exception tree"),
    "text": Room("text that comes from outside: kept as it is, printed so that no terminal obeys it"),
    "verdict": Room("the verdicts", pure=True),
    "immutable": Room("values with named fields, which never change", pure=True),
    "arguments": Room("the arguments of public calls, checked", pure=True),
    "public": Room("what dir() and repr() show of public objects", pure=True),
    "checksum": Room("the internet checksum", pure=True),
    "reading": Room("files that users name, read within bounds of size and time"),
    "process": Room("what this process lets go of when it forks or ends, and in which order"),
}
"""Imported by all. A ground file imports other ground files at most."""

ROOMS = {
    "cli": Room(
        "one file per verb",
        (
            "bpf",
            "demo",
            "facts",
            "journal",
            "lower",
            "match",
            "matcher",
            "nic",
            "options",
            "planner",
            "ports",
            "protection",
            "ramp",
            "state",
            "steering",
            "syscalls",
        ),
    ),
    "demo": Room("two hosts, a flood, a bypass, shown", ("bench", "lab", "syscalls")),
    "bench": Room(
        "what takes packets off an interface, under one flood, measured", ("_native", "gen", "lab", "ramp", "syscalls")
    ),
    "testing": Room("the public face of lab and gen, and a NIC in memory", ("facts", "gen", "lab", "steering")),
    "gen": Room("traffic: packets, and floods of them", ("bpf", "emit", "lab", "llvm")),
    "lab": Room("virtual hosts and wires", ("nic", "syscalls")),
    "ramp": Room(
        "open, attach: a plan carried out, and taken back",
        (
            "_native",
            "bpf",
            "emit",
            "facts",
            "journal",
            "llvm",
            "lower",
            "matcher",
            "nic",
            "options",
            "planner",
            "ports",
            "protection",
            "steering",
            "syscalls",
        ),
    ),
    "matcher": Room(
        "Match: a match with its sets, asked about packets",
        ("_native", "emit", "llvm", "lower", "match", "ports", "state"),
    ),
    "ports": Room("Port, Queue, Batch: frames in and out, whatever the technique", ("_native",)),
    "journal": Room(
        "every change of an interface, written down before it is made, undone whatever happens",
        ("facts", "nic", "syscalls"),
    ),
    "state": Room("sets: memory that packets look into", ("_native", "bpf", "lower")),
    "nic": Room("what an interface is and can do; reads and turns its knobs", ("bpf", "facts", "steering", "syscalls")),
    "bpf": Room("maps, programs, links in the kernel", ("emit", "facts", "syscalls")),
    "llvm": Room("IR -> code, in a child process", ("emit", "syscalls")),
    "syscalls": Room("one file for each kind of system call"),
    "planner": Room(
        "match + what the interface can do -> plan", ("facts", "match", "options", "protection", "steering"), pure=True
    ),
    "protection": Room(
        "what keeps a link, a route or a login alive: one table", ("facts", "lower", "match"), pure=True
    ),
    "options": Room("what a user may ask for: one table, each option written once", pure=True),
    "emit": Room("expression -> LLVM IR, for the driver and for this CPU", ("lower",), pure=True),
    "lower": Room("tcpdump's meaning: tree -> expression over numbers read from a packet", ("match",), pure=True),
    "match": Room("text <-> tree", pure=True),
    "facts": Room("what is known of an interface, a driver, a machine: values", ("steering",), pure=True),
    "steering": Room("n-tuple rules, RSS tables, Toeplitz: which queue gets a packet", pure=True),
}
"""From the top down: an arrow leads from a room to one that stands below it."""


def picture() -> str:
    """The rooms as ARCHITECTURE.md has them."""
    return "".join(_lines())


def _lines() -> Iterator[str]:
    for name, room in ROOMS.items():
        yield _line(f"{name}/", room)
    for name, room in GROUND.items():
        yield _line(f"{name}.py", room)


def _line(name: str, room: Room) -> str:
    imports = f". Imports {', '.join(room.imports)}" if room.imports else ""
    line = f"- `{name}`{', pure' * room.pure}: {room.job}{imports}"
    return fill(line, 120, subsequent_indent="  ", break_on_hyphens=False) + "\n"


def drawn() -> str:
    """What ARCHITECTURE.md says now."""
    return PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0]


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(before + _BEGIN + picture() + _END + rest.partition(_END)[2])
