# SPDX-License-Identifier: Apache-2.0
"""The public face: its names, and how little `import offramp` loads."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import offramp
import offramp.errors
from tests.rigs.imported import loaded_by

HEAVY = {"llvmlite", "numpy", "pyroute2", "rich", "typer"}
LIGHT = {"offramp.errors", "offramp.text"}


def test_the_public_names_are_these_and_no_others() -> None:
    own = {"Attachment", "Batch", "CLAIM", "DROP", "Event", "EventKind", "OfframpWarning", "PASS", "Port", "Ramp"}
    own |= {"TX", "Verdict", "HashSet", "Match", "PrefixSet", "__version__", "attach", "open", "open_port", "ramps"}
    assert set(offramp.__all__) == own | set(offramp.errors.__all__)
    assert len(offramp.__all__) == len(set(offramp.__all__))


@pytest.mark.parametrize("name", offramp.__all__)
def test_each_public_name_exists(name: str) -> None:
    assert getattr(offramp, name) is not None
    assert name in dir(offramp)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'offramp' has no attribute 'opne'"):
        offramp.opne  # type: ignore[attr-defined]  # noqa: B018


def test_the_verdicts_are_those_of_xdp() -> None:
    assert [offramp.DROP, offramp.PASS, offramp.TX, offramp.CLAIM] == [1, 2, 3, 4]
    assert offramp.DROP is offramp.Verdict.DROP


def test_a_warning_has_a_name_to_filter_it_by() -> None:
    assert issubclass(offramp.OfframpWarning, UserWarning)


def test_the_version_is_the_installed_one() -> None:
    assert offramp.__version__ == importlib.metadata.version("offramp")


def test_every_error_is_an_offramp_error() -> None:
    for name in offramp.errors.__all__:
        assert issubclass(getattr(offramp, name), (offramp.OfframpError, offramp.OfframpWarning))


def test_import_offramp_loads_nothing_heavy() -> None:
    loaded = loaded_by("import offramp")
    assert "offramp" in loaded
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
    assert not [name for name in loaded if name.startswith("offramp.") and name not in LIGHT]


HANDLER = """
import sys, offramp
count, said = 0, []
def interrupt(frame, event, argument):
    global count
    if "/offramp/" in frame.f_code.co_filename:
        count += 1
        if count == int(sys.argv[1]):
            sys.settrace(None)
            try:
                said.append(str(offramp.Match("udp")))
            except offramp.OfframpError as error:
                said.append(str(error))
    return interrupt
sys.settrace(interrupt)
offramp.Match
sys.settrace(None)
print(said[0], "|", offramp.Match("udp"))
"""


@pytest.mark.parametrize("moment", [1, 30, 300, 1000, 2500])
def test_a_signal_handler_that_is_the_first_to_use_it_while_it_is_imported(moment: int) -> None:
    """It works, or says why it cannot; and what was interrupted goes on."""
    command = [sys.executable, "-c", HANDLER, str(moment)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    reason = "this signal handler interrupts its thread in importing offramp"
    assert said == "udp | udp" or (said.startswith(f"offramp.Match: {reason}") and said.endswith("| udp"))
