# SPDX-License-Identifier: Apache-2.0
"""The arguments that `run` and `plan` share: how they look. What they may be is decided by `planner.Options`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offramp.errors import OptionError

if TYPE_CHECKING:
    from offramp.planner import Options
    from offramp.verdict import Verdict

__all__ = [
    "AsJson",
    "Copying",
    "Do",
    "File",
    "Frames",
    "Interface",
    "Layout",
    "Mode",
    "NoProtect",
    "Observe",
    "Probe",
    "Queue",
    "Require",
    "Ring",
    "Sets",
    "Share",
    "Stall",
    "Vf",
    "WhatToDo",
    "Words",
    "chosen",
]


class Do(StrEnum):
    """What happens to matching packets."""

    COUNT = "count"  # in user space
    DROP = "drop"  # in the driver
    ECHO = "echo"  # in user space

    @property
    def verdict(self) -> Verdict:
        from offramp.verdict import Verdict

        return Verdict.DROP if self is Do.DROP else Verdict.CLAIM


_ONLY_WITH_SOCKETS = ("copying", "queue", "queues", "vf", "observe", "probe", "share", "frames", "ring", "stall")

Interface = Annotated[str, typer.Argument(metavar="INTERFACE", show_default=False)]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MATCH",
        show_default=False,
        help="A tcpdump expression, in one argument or several; '' is every packet. Quote parentheses.",
    ),
]
WhatToDo = Annotated[
    Do,
    typer.Option(
        "--do",
        show_default=False,
        help="count: take them into user space and count them (nobody else gets them); drop: in the driver; "
        "echo: into user space and back to the sender, addresses exchanged.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")]
Mode = Annotated[
    str | None,
    typer.Option(
        metavar="auto|native|generic",
        show_default=False,
        help="Where XDP runs: in the driver, or (slow) in the stack.  [default: auto, in the driver if it can]",
    ),
]
Copying = Annotated[
    str | None,
    typer.Option(
        metavar="auto|copy|zero-copy",
        show_default=False,
        help="Who writes claimed packets to our memory: the kernel, or the NIC.  [default: copy, or as the plan says]",
    ),
]
Require = Annotated[
    list[str] | None,
    typer.Option(metavar="native|zero-copy", show_default=False, help="Fail rather than do without. Repeatable."),
]
Layout = Annotated[
    str | None,
    typer.Option(
        metavar="auto|hidden-queue|in-driver|vf",
        show_default=False,
        help="How the flow gets to user space: on a queue of its own, to which the NIC brings it; on all queues; on a "
        "virtual function.  [default: auto, a hidden queue if the NIC is known to bring the flow]",
    ),
]
Queue = Annotated[
    list[int] | None,
    typer.Option(
        metavar="N",
        show_default=False,
        help="A receive queue to listen on. Repeatable.  [default: all; of a hidden queue: the last]",
    ),
]
Vf = Annotated[
    int | None,
    typer.Option(metavar="N", show_default=False, help="A virtual function that nobody uses.  [default: a new one]"),
]
Observe = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        show_default=False,
        help="Look at most so long whether the NIC brings the flow to its hidden queue.  [default: 0.5]",
    ),
]
Probe = Annotated[
    bool, typer.Option("--probe", help="Make a peer answer with a packet of the flow meanwhile: SYN, echo request.")
]
Share = Annotated[
    float | None,
    typer.Option(
        metavar="0..1",
        show_default=False,
        help="Of all packets, those that match, as far as you know: decides between copy and zero-copy.",
    ),
]
Frames = Annotated[
    int | None,
    typer.Option(metavar="N", show_default=False, help="Packet memory of each queue, in frames.  [default: 4096]"),
]
Ring = Annotated[
    int | None,
    typer.Option(metavar="N", show_default=False, help="Entries of each ring, a power of two.  [default: 2048]"),
]
Stall = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS|never",
        show_default=False,
        help="Give the flow back to the kernel when this process has not looked for so long.  [default: 1]",
    ),
]
NoProtect = Annotated[bool, typer.Option("--no-protect", help="Let ARP, ND, DHCP and SSH match, too.")]
File = Annotated[
    str | None,
    typer.Option(
        "-F",
        metavar="FILE",
        show_default=False,
        help="Read the match from a file, as tcpdump does: lines are joined, '#' begins a comment. '-' is stdin.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=FILE",
        show_default=False,
        help="What @NAME in the match stands for: a file of addresses, networks or ports, a line each, or none yet. "
        "Repeatable.",
    ),
]


def chosen(
    do: Do,
    *,
    mode: str | None,
    copying: str | None,
    require: list[str] | None,
    queue: list[int] | None,
    frames: int | None,
    ring: int | None,
    stall: str | None,
    no_protect: bool,
    layout: str | None = None,
    vf: int | None = None,
    observe: float | None = None,
    probe: bool = False,
    share: float | None = None,
) -> Options:
    """What was asked for, checked. Errors: OptionError."""
    from offramp.planner import Options

    hidden = layout == "hidden-queue" and queue is not None and len(queue) == 1
    asked = {
        "mode": mode,
        "copying": copying,
        "require": require,
        "queues": None if hidden else queue,
        "queue": queue[0] if hidden and queue else None,
        "layout": layout,
        "vf": vf,
        "observe": observe,
        "probe": probe or None,
        "share": share,
        "frames": frames,
        "ring": ring,
        "stall": stall,
    }
    given = {name: value for name, value in asked.items() if value not in (None, [])}
    converted: dict[str, Any] = {name: _CONVERSIONS.get(name, _as_it_is)(value) for name, value in given.items()}
    options = Options(**converted, protect=not no_protect)
    if do is Do.DROP:
        useless = [name for name in _ONLY_WITH_SOCKETS if name in given]
        useless += ["require zero-copy"] if "zero-copy" in options.require else []
        if useless:
            name = useless[0].replace("queues", "queue")
            raise OptionError(f"--{name} with --do drop", reason="packets end in the driver, there is no socket")
    return options


def _as_it_is(value: Any) -> Any:
    return value


def _seconds(text: str) -> float | None:
    if text == "never":
        return None
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"--stall {text}", reason="neither seconds nor 'never'") from None


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"require": frozenset, "queues": tuple, "stall": _seconds}
