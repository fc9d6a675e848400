# SPDX-License-Identifier: Apache-2.0
"""The text about options in docstrings and docs/options.md."""

from __future__ import annotations

from offramp.options.kinds import Switch
from offramp.options.option import Call, Option
from offramp.options.table import TABLE

__all__ = ["docstring", "page"]

_HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Made by packaging/reference.py of python/offramp/options/table.py: `make man` writes it anew. -->
# Options

These are the options of `offramp.open` and, where the table says so, of `offramp.attach`. `offramp run` and
`offramp plan` have them as flags; with `--do drop` they are `attach`. A time is a number of seconds or text: `5`, `5s`,
`500ms`, `1m`, `1h30m`. A bad value raises an `OptionError` that quotes it. On the command line, separate the items of a
list with commas, or repeat the flag.
"""


def docstring(call: Call) -> list[str]:
    """The list of a call's options for its docstring, one line for each."""
    return [_line(option) for option in TABLE.values() if call in option.calls]


def _line(option: Option) -> str:
    none = f"; None: {option.none}" if option.none else ""
    return f"- `{option.name}`: {option.sentence}{none}"


def page() -> str:
    """The text of docs/options.md."""
    rows = [f"| [`{each.name}`](#{each.name}) | {_default(each)} | {_values(each)} |" for each in TABLE.values()]
    table = "\n".join(["| option | default | values |", "|---|---|---|", *rows])
    return f"{_HEAD}\n{table}\n" + "".join(map(_entry, TABLE.values()))


def _default(option: Option) -> str:
    return f"`{option.default!r}`" if option.default != frozenset() else "nothing"


def _values(option: Option) -> str:
    values = "`True`, `False`" if isinstance(option.kind, Switch) else option.kind.range
    return f"{values}; `None`: {option.none}" if option.none else values


def _entry(option: Option) -> str:
    flag = " ".join(filter(None, (option.spelled.replace("/", " / "), option.kind.metavar)))
    calls = " and ".join(f"`{call}`" for call in option.calls)
    only = f", for layout {' or '.join(option.layouts)}" if option.layouts else ""
    off = f" or `{option.off}`" if option.off else ""
    return f"\n## {option.name}\n\n{_wrapped(option.sentence)}\n\nOf {calls}{only}; `{flag}`{off}.\n"


def _wrapped(sentence: str) -> str:
    from textwrap import fill

    return fill(f"{sentence[:1].upper()}{sentence[1:]}.", 120, break_on_hyphens=False)
