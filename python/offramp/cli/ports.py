# SPDX-License-Identifier: Apache-2.0
"""`offramp ports`: the ports that can be opened by name, and what stands in the way."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from offramp.cli.parameters import AsJson

if TYPE_CHECKING:
    from offramp.ports.kinds import PortKind

__all__ = ["ports"]

_WIDEST = 100  # columns
_INDENT = "  "


def ports(as_json: AsJson = False) -> None:
    """List the kinds of ports what each needs, and its options.

    \b
    offramp ports
    offramp ports --json

    A port is named by its syntax: offramp.open_port("loop:a"). Parts in brackets may be left out. A wrapper goes in
    front of any port: trace+loop:a. What `offramp run` opens is not listed: it picks packets by a match, and makes its
    port itself.

    Exit status: 0, whether ports are usable or not. Needs no privileges. Whether a port can be opened here is tried,
    not guessed.
    """
    from offramp.ports.kinds import port_kinds

    known = port_kinds()
    kinds = [kind for kind in known if kind.needs is not None]
    wrappers = [kind for kind in known if kind.needs is None]
    if as_json:
        print(json.dumps({"kinds": [asdict(kind) for kind in kinds], "wrappers": [asdict(kind) for kind in wrappers]}))
        return
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    _print("ports", kinds, width)
    _print("wrappers that go around a port", wrappers, width)


def _print(title: str, kinds: Sequence[PortKind], width: int) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    console.print(Text(f"\n{title}", style="bold"))
    for kind in kinds:
        console.print()
        for line in _folded(kind.syntax, width):
            console.print(Text(line, style="cyan"))
        for line in _wrapped("", kind.about, width):
            console.print(Text(line))
        for line in _wrapped("needs  ", kind.needs or "what the port inside it needs", width):
            console.print(Text(line))
        for line in _wrapped("here   ", "usable" if kind.usable else f"not usable: {kind.reason}", width):
            console.print(Text(line, style="green" if kind.usable else "red"))
        column = max(len(option.name) for option in kind.options) + 2
        for option in kind.options:
            words = f"{option.about}: {option.allowed}; default: {option.default}"
            for line in _wrapped(option.name.ljust(column), words, width):
                console.print(Text(line, style="dim"))


def _folded(syntax: str, width: int) -> Iterator[str]:
    """Break the syntax into lines, only before an option."""
    line = _INDENT
    for piece in re.split(r"(?=\[,)", syntax):
        if len(line) + len(piece) > width and line.strip():
            yield line
            line = 2 * _INDENT
        line += piece
    yield line


def _wrapped(name: str, words: str, width: int) -> list[str]:
    first = 2 * _INDENT + name
    return textwrap.wrap(words, width, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False)
