# SPDX-License-Identifier: Apache-2.0
"""The manual pages, made of what `--help` says, so that they stay true: `make man` writes them
into packaging/data, whose tree a wheel installs.

One page for offramp and one for each verb. A block that `--help` does not wrap (after a line with \\b) is the examples.
Source: man(7), man-pages(7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import offramp
from offramp.cli import app
from offramp.cli.verb import argument

PLACE = Path(__file__).with_name("data") / "data/share/man/man1"  # as a wheel installs it, below its prefix
_EXAMPLES = "\b\n"
_EXIT_STATUS = """0 it is done; 1 it failed; 2 bad input (a match, an option, a file or interface that does not exist);
130 interrupted. An error is one line on stderr."""


def pages() -> dict[str, str]:
    """File name: content."""
    root: Any = typer.main.get_command(app)
    context = root.context_class(root, info_name="offramp")
    verbs = {name: root.get_command(context, name) for name in root.list_commands(context)}
    made = {"offramp.1": "".join(_page("offramp", root, context, list(verbs)))}
    for name, verb in verbs.items():
        inner = verb.context_class(verb, info_name=name, parent=context)
        made[f"offramp-{name}.1"] = "".join(_page(f"offramp {name}", verb, inner, []))
    return made


def _page(name: str, command: Any, context: Any, verbs: list[str]) -> Iterator[str]:
    title, *blocks = command.help.split("\n\n")
    dashed = name.replace(" ", "-")
    yield f'.\\" SPDX-License-Identifier: Apache-2.0\n.\\" Made by packaging/man.py of what {name} --help says.\n'
    yield f'.TH {dashed.upper()} 1 "" "offramp {offramp.__version__}" "User Commands"\n'
    yield f".SH NAME\n{_text(dashed)} \\- {_text(title.rstrip('.'))}\n"
    words = "[OPTIONS] VERB ..." if verbs else " ".join(command.collect_usage_pieces(context))
    yield f".SH SYNOPSIS\n.B {_text(name)}\n{_text(words)}\n"
    plain = [block for block in blocks if not block.startswith(_EXAMPLES)]
    if plain:
        yield ".SH DESCRIPTION\n" + ".PP\n".join(f"{_text(block)}\n" for block in plain)
    if verbs:
        yield ".SH VERBS\n"
        for verb in verbs:
            said = command.get_command(context, verb).help.partition("\n\n")[0]
            yield f".TP\n.BR {_text(f'offramp-{verb}')} (1)\n{_text(said)}\n"
    yield from _terms("ARGUMENTS", context, [each for each in command.params if each.param_type_name == "argument"])
    yield from _terms("OPTIONS", context, [each for each in command.get_params(context) if _is_option(each)])
    for block in blocks:
        if block.startswith(_EXAMPLES):
            yield f".SH EXAMPLES\n.nf\n{_text(block.removeprefix(_EXAMPLES))}\n.fi\n"
    if not any("Exit status:" in block for block in blocks):
        yield f".SH EXIT STATUS\n{_text(_EXIT_STATUS)}\n"
    others = [f".BR {_text(f'offramp-{verb}')} (1)" for verb in verbs] or [".BR offramp (1)"]
    yield ".SH SEE ALSO\n" + ",\n".join(others) + "\n"


def _terms(title: str, context: Any, params: list[Any]) -> Iterator[str]:
    records = [(param, param.get_help_record(context)) for param in params]
    if records:
        yield f".SH {title}\n"
    for param, (term, text) in records:
        shown, text = (term, text) if _is_option(param) else (argument(param), param.help or "")
        yield f".TP\n.B {_text(shown)}\n{_text(re.sub(r' {2,}', ' ', text))}\n"


def _is_option(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def _text(text: str) -> str:
    """As roff shows it letter by letter: no line of it is a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in escaped.split("\n"))


def main() -> None:
    PLACE.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for stale in set(PLACE.glob("*.1")) - {PLACE / name for name in wanted}:
        stale.unlink()
    for name, content in wanted.items():
        (PLACE / name).write_text(content)


if __name__ == "__main__":
    main()
