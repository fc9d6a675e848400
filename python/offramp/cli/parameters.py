# SPDX-License-Identifier: Apache-2.0
"""The arguments that verbs share, and the flags of the table of options: how they look, and what their values mean.

Every value is typed as text, and the option itself reads it (offramp.options), so its errors are offramp's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offramp.errors import OptionError
from offramp.options import NO_SOCKET, TABLE, Option, Options
from offramp.options.kinds import Choice, Duration, Switch

if TYPE_CHECKING:
    from offramp.verdict import Verdict

__all__ = [
    "AsJson",
    "Do",
    "File",
    "Interface",
    "Sets",
    "WhatToDo",
    "Words",
    "chosen",
    "flag",
    "for_time",
    "with_options",
]

_LONGEST = 366 * 86400.0  # the longest time for --for, in seconds


class Do(StrEnum):
    """What happens to matching packets."""

    COUNT = "count"  # in user space
    DROP = "drop"  # in the driver
    ECHO = "echo"  # in user space
    PASS = "pass"  # in the driver: counted there

    @property
    def verdict(self) -> Verdict:
        from offramp.verdict import Verdict

        return {Do.DROP: Verdict.DROP, Do.PASS: Verdict.PASS}.get(self, Verdict.CLAIM)

    @property
    def in_driver(self) -> bool:
        """Whether the driver does it alone, as an attachment."""
        return self in (Do.DROP, Do.PASS)

    @classmethod
    def typed(cls, word: str) -> Do:
        """Errors: OptionError."""
        return cls(_DO.typed(word))


def flag(option: Option) -> Any:
    """The option in the form that typer takes."""
    if isinstance(option.kind, Switch):
        on, *off = option.spelled.split("/")
        spellings = ["/".join((on, *off[:1])), *(f" /{another}" for another in off[1:])]
        return typer.Option(*spellings, show_default=False, help=option.help)
    return typer.Option(option.spelled, metavar=option.kind.metavar, show_default=False, help=option.help)


def for_time(sentence: str) -> Option:
    """The option `--for`."""
    return Option("for", Duration(0.001, _LONGEST), sentence)


_DO = Option(
    "do",
    Choice(tuple(Do)),
    "what becomes of the packets: pass: the driver counts them, and they go on to the kernel; count: they come to user "
    "space and are counted, and nobody else gets them; drop: they end in the driver; echo: they go back to the sender, "
    "addresses exchanged",
)

Interface = Annotated[
    str,
    typer.Argument(
        metavar="INTERFACE", show_default=False, help="A network interface of this namespace; also as -i INTERFACE."
    ),
]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MATCH",
        show_default=False,
        help="A tcpdump expression, as one argument or several; '' is every packet. Quote parentheses.",
    ),
]
WhatToDo = Annotated[str, flag(_DO)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")]
File = Annotated[
    str | None,
    typer.Option(
        "-F",
        metavar="FILE",
        show_default=False,
        help="Read the match from a file, as tcpdump does: lines are joined, '#' starts a comment. '-' is stdin.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=FILE",
        show_default=False,
        help="What @NAME in the match stands for: a file of addresses, networks or ports, one on each line, or none "
        "yet. Repeatable.",
    ),
]


def with_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb a flag for each option of the table. What was typed comes in its last parameter, **typed."""
    signature = inspect.signature(verb, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    flags = [parameter for option in TABLE.values() for parameter in _parameters(option)]
    vars(verb)["__signature__"] = signature.replace(parameters=[*own, *flags])
    return verb


def _parameters(option: Option) -> Iterator[inspect.Parameter]:
    kind: Any = str | None
    default = None
    if isinstance(option.kind, Switch):
        kind, default = bool, option.default if option.typed_default is None else option.typed_default
    elif option.repeatable:
        kind = list[str] | None
    annotation = Annotated[kind, flag(option)]
    yield inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    if option.off:
        no: Any = Annotated[
            bool, typer.Option(option.off, show_default=False, help=f"As {option.name}=False in Python.")
        ]
        yield inspect.Parameter(f"no_{option.name}", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=no)


def chosen(do: Do, typed: Mapping[str, Any]) -> Options:
    """The options asked for, checked: those of `offramp.attach` if the driver acts, else those of `offramp.open`.

    Errors: OptionError.
    """
    typed = _switched_off(typed)
    given = {name: value for name, value in typed.items() if value not in (None, []) and value is not _unset(name)}
    for name in given:
        if do.in_driver and "attach" not in TABLE[name].calls:
            raise OptionError(f"{TABLE[name].spelled} with --do {do}", reason=NO_SOCKET)
    read: dict[str, Any] = {
        name: value if isinstance(value, bool) else TABLE[name].typed(value) for name, value in given.items()
    }
    options = Options(**read)
    if do.in_driver and options.wants_zero_copy:
        raise OptionError(f"--require zero-copy with --do {do}", reason=NO_SOCKET)
    return options


def _switched_off(typed: Mapping[str, Any]) -> dict[str, Any]:
    """The same, where a flag that says False has given its option that value. Errors: OptionError."""
    found = dict(typed)
    for option in TABLE.values():
        if option.off and found.pop(f"no_{option.name}", False):
            if found.get(option.name) not in (None, True):
                raise OptionError(f"{option.off} with {option.spelled}", reason="they exclude each other")
            found[option.name] = False
    return found


def _unset(name: str) -> object:
    """The value of a switch that was not typed."""
    option = TABLE[name]
    return option.default if isinstance(option.kind, Switch) else ...
