# SPDX-License-Identifier: Apache-2.0
"""The match that was typed or is in a file, and the files of its sets. A file that cannot be read is bad input."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from offramp import reading
from offramp.errors import KernelError, OfframpError, OptionError

if TYPE_CHECKING:
    from offramp import Match
    from offramp.lower.shapes import Family
    from offramp.match import Node
    from offramp.options import Options
    from offramp.state import HashSet, PrefixSet

__all__ = ["content", "matching", "with_own"]


def matching(words: list[str] | None, file: str | None, sets: list[str] | None, options: Options) -> Match:
    """The match of the words or of the file, with its sets. Sets may also be those of what the options protect.

    Errors: MatchError, OptionError.
    """
    text, own = _text(words, file), options.protect
    others = _names(own) - _names(text) if sets and isinstance(own, str) else frozenset()
    return _with_sets(text, [one for one in sets or [] if one.partition("=")[0] not in others], options)


def with_own(options: Options, sets: list[str] | None) -> Options:
    """The options, in which what the user protects is a match, with its sets. Errors: MatchError, OptionError."""
    own = options.protect
    if not isinstance(own, str):
        return options
    try:
        names = _names(own) if sets else ()
        made = _with_sets(own, [one for one in sets or [] if one.partition("=")[0] in names], options)
    except OfframpError as error:
        error.what = f"--protect: {error.what}"
        raise
    return replace(options, protect=made)


def _names(text: str) -> frozenset[str]:
    """The names of the sets in a match; none if it has an error, which is told elsewhere."""
    from offramp.match import set_names

    try:
        return set_names(_tree(text))
    except OfframpError:
        return frozenset()


def _with_sets(text: str, sets: list[str], options: Options) -> Match:
    """Names of hosts are looked up, if the options say so."""
    from offramp import Match

    node = _tree(text) if sets else None
    named: dict[str, HashSet | PrefixSet] = {}
    for one in sets:
        name, path = _name_and_path(one)
        if name in named:
            raise OptionError(f"--set {one}", reason=f"{name} was given before", hint="put both files into one")
        named[name] = _load(one, path, _family(node, name))
    return Match.resolved(text, **named) if options.resolve else Match(text, **named)


def content(option: str, path: str, most: int) -> bytes:
    """The content of a file that an option names. If it is longer than `most`, one byte more than that.

    Errors: OptionError.
    """
    try:
        if path == "-":
            return sys.stdin.buffer.read(most + 1)
        return reading.content(option, path, most)
    except OSError as error:
        raise _unreadable(option, error.errno) from error


def _unreadable(option: str, errno: int | None) -> OptionError:
    return OptionError(option, reason=os.strerror(errno or 0))


def _text(words: list[str] | None, file: str | None) -> str:
    if file is None:
        if words is None:
            raise OptionError("no match was given", hint="'' is every packet; -F FILE reads one")
        return " ".join(words)
    if words is not None:
        raise OptionError(f"-F {file}", reason="a match was given, too", hint="give only one of them")
    from offramp.match.parse import MAX_TEXT

    text = content(f"-F {file}", file, MAX_TEXT).decode(errors="replace")
    return re.sub("#[^\n]*", lambda comment: " " * len(comment[0]), text)  # as in tcpdump


def _name_and_path(one: str) -> tuple[str, str]:
    name, equals, path = one.partition("=")
    if not equals or not path:
        raise OptionError(f"--set {one}", reason="not of the form NAME=FILE")
    if not name.isascii() or not name.isidentifier():
        reason = f"a set cannot be called {name!r}"
        raise OptionError(f"--set {one}", reason=reason, hint="use letters, digits and '_', and no digit first")
    return name, path


def _load(option: str, path: str, family: Family) -> HashSet | PrefixSet:
    from offramp.state import load

    try:
        return load(path, empty=family)
    except KernelError as error:
        raise _unreadable(f"--set {option}", error.errno) from error


def _tree(text: str) -> Node:
    """The tree, before names of hosts are looked up: any address stands for them."""
    from offramp.match import Network, parse
    from offramp.matcher.services import system

    some = Network.prefix(4, 1, 32)
    return parse(text, replace(system(), host=lambda name: (some,), net=lambda name: some))


def _family(node: Node | None, name: str) -> Family:
    """The family of a set that holds nothing yet, from what the match looks up in it."""
    from offramp.match import InSet, primitives

    uses = (use.families[0] for use in primitives(node) if isinstance(use, InSet) and use.name == name) if node else ()
    return next(iter(uses), "ip")
