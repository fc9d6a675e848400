# SPDX-License-Identifier: Apache-2.0
"""The table of options, and everything that repeats it: signatures, docstrings, flags, documents."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

import offramp
from offramp.cli import app, main
from offramp.cli.parameters import Do, chosen
from offramp.errors import OptionError
from offramp.options import TABLE, Call, Options
from offramp.options.kinds import Switch
from offramp.options.words import docstring, page

DOCS = Path(__file__).parents[3] / "docs"
CALLS: dict[Call, Callable[..., Any]] = {"open": offramp.open, "attach": offramp.attach}


@pytest.mark.parametrize("call", CALLS)
def test_a_signature_is_the_table(call: Call) -> None:
    parameters = inspect.signature(CALLS[call]).parameters.values()
    *options, unknown = [each for each in parameters if each.kind in (each.KEYWORD_ONLY, each.VAR_KEYWORD)]
    expected = [option for option in TABLE.values() if call in option.calls]
    assert [(each.name, each.annotation) for each in options] == [(each.name, each.annotation) for each in expected]
    for each, option in zip(options, expected, strict=True):
        assert option.checked(each.default) == option.default
    assert (unknown.name, unknown.annotation) == ("unknown", "Never")


@pytest.mark.parametrize("call", CALLS)
def test_a_docstring_is_the_table(call: Call) -> None:
    text = inspect.cleandoc(CALLS[call].__doc__ or "")
    items = re.findall(r"^- `.*?(?=\n- `|\n\n)", text, re.MULTILINE | re.DOTALL)
    assert [" ".join(item.split()) for item in items] == docstring(call)


def test_the_document_is_the_table() -> None:
    assert (DOCS / "options.md").read_text() == page(), "make man"


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_verbs_flags_are_the_table(verb: str) -> None:
    root: Any = typer.main.get_command(app)
    params = {each.name: each for each in root.commands[verb].params}
    for name, option in TABLE.items():
        assert "/".join(params[name].opts + params[name].secondary_opts) == option.spelled
        assert params[name].help == option.help
        assert params[name].metavar == (None if isinstance(option.kind, Switch) else option.kind.metavar)


@pytest.mark.parametrize("option", TABLE.values(), ids=TABLE)
def test_a_row_of_the_table_is_whole(option: Any) -> None:
    assert option.checked(option.default) == option.default
    assert option.sentence[0].islower() or option.sentence[1].isupper()
    assert not option.sentence.endswith(".")
    assert (option.default is None) <= bool(option.none)


# -- what is typed, and what is written in Python ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ({"queues": ["0,2"]}, {"queues": [0, 2]}),
        ({"queues": ["0", "2"]}, {"queues": (0, 2)}),
        ({"hidden_queue": "3"}, {"hidden_queue": 3}),
        ({"layout": "vf", "vf": "1"}, {"layout": "vf", "vf": 1}),
        ({"require": ["native,zero-copy"]}, {"require": {"native", "zero-copy"}}),
        ({"require": ["native"]}, {"require": "native"}),
        ({"stall": "never"}, {"stall": None}),
        ({"stall": "1m30s"}, {"stall": 90}),
        ({"observe": "250ms"}, {"observe": "250ms"}),
        ({"observe": "0"}, {"observe": 0}),
        ({"share": "0.5", "copying": "auto"}, {"share": 0.5, "copying": "auto"}),
        ({"frames": "8192", "ring": "4096"}, {"frames": 8192, "ring": 4096}),
        ({"probe": True, "no_protect": True}, {"probe": True, "protect": False}),
        ({"protect": "tcp port 80"}, {"protect": "tcp port 80"}),
        ({name: None for name in TABLE if name not in ("probe", "protect")} | {"probe": False, "protect": True}, {}),
    ],
)
def test_the_command_line_means_what_python_means(typed: dict[str, Any], written: dict[str, Any]) -> None:
    assert chosen(Do.COUNT, typed) == Options(**written)


def told(call: Call, **given: Any) -> str:
    with pytest.raises(OptionError) as caught:
        CALLS[call]("lo", "udp", **given)
    return str(caught.value)


@pytest.mark.parametrize("call", CALLS)
def test_options_of_earlier_versions(call: Call) -> None:
    assert told(call, queue=3) == (
        "queue=3: there is no such option any more"
        " (hidden_queue= says which queue is hidden, queues= which receive queues to listen on)"
    )
    assert told(call, via="vf") == "via='vf': there is no such option any more (layout= says it: vf)"


def test_options_that_do_not_apply() -> None:
    for name in {name for name, option in TABLE.items() if "attach" not in option.calls}:
        expected = f"attach with {name}=1: the driver acts on the packets, so there is no socket (offramp.open has it)"
        assert told("attach", **{name: 1}) == expected
    assert told("attach", require="zero-copy").startswith("attach with require='zero-copy': the driver acts")


def test_keywords_that_nobody_knows() -> None:
    with pytest.raises(
        TypeError, match=r"open\(\) got an unexpected keyword argument 'frmaes' \(did you mean frames\?"
    ):
        offramp.open("lo", "udp", frmaes=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"attach\(\) got an unexpected keyword argument 'zzz'$"):
        offramp.attach("lo", "udp", zzz=1)  # type: ignore[arg-type]


# -- help --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["", "run", "plan", "doctor", "nic", "ports", "restore", "demo"])
@pytest.mark.parametrize("width", [60, 80])
def test_help_fits_a_narrow_terminal_whole(
    verb: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    main([*verb.split(), "--help"])
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if len(line) > width] == []
    assert not [sign for sign in ("list[", "{", "<str>") if sign in shown]
    root: Any = typer.main.get_command(app)
    command = root.commands[verb] if verb else root
    texts = [command.help, *(each.help or "" for each in command.params)]
    texts += [] if verb else [each.help.partition("\n\n")[0] for each in root.commands.values()]
    for text in texts:
        assert _letters(text) in _letters(shown)


def _letters(text: str) -> str:
    """Without the spaces and line ends that depend on the width."""
    return "".join(text.replace("\b", "").split())
