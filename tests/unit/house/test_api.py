# SPDX-License-Identifier: Apache-2.0
"""The public face: its names, how little `import offramp` loads, and which way the rooms import."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import offramp
import offramp.errors

PACKAGE = Path(offramp.__file__).parent
HEAVY = {"llvmlite", "numpy", "pyroute2", "rich", "typer"}
PURE = ("match", "compile", "planner", "steering")


def test_the_public_names_are_these_and_no_others() -> None:
    own = {"Attachment", "Batch", "CLAIM", "DROP", "OfframpWarning", "PASS", "Port", "Ramp", "TX", "Verdict"}
    own |= {"HashSet", "Match", "PrefixSet", "__version__", "attach", "open"}
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
    code = "import json, sys, offramp; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
    assert "offramp" in loaded
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
    assert not [name for name in loaded if name.startswith("offramp.") and name != "offramp.errors"]


def running_code(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node`, except what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from running_code(child)


def imports(source: Path) -> Iterator[str]:
    """The absolute names of all modules that a file of the package imports, late imports included."""
    package = ["offramp", *source.relative_to(PACKAGE).parent.parts]
    for node in running_code(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_reach_no_interface_and_no_kernel(room: str) -> None:
    forbidden = ("offramp.nic", "offramp.bpf", "offramp.ramp", "offramp.cli", "offramp._native", "pyroute2")
    for source in sorted((PACKAGE / room).rglob("*.py")):
        wrong = [name for name in imports(source) if f"{name}.".startswith(tuple(f"{f}." for f in forbidden))]
        assert wrong == [], f"{source} imports {wrong}"
