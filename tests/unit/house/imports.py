# SPDX-License-Identifier: Apache-2.0
"""Who imports whom in python/offramp, read from the sources: everything counts, late imports and type imports too."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import offramp

__all__ = ["PACKAGE", "circles", "graph", "room_of", "sources"]

PACKAGE = Path(offramp.__file__).parent


def sources() -> list[Path]:
    """All files of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def module_of(source: Path) -> str:
    """`offramp.ramp.ramp`; of a package's __init__.py the package."""
    parts = ("offramp", *source.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room that a module of offramp is in; "" for the package's own face."""
    return module.split(".")[1] if "." in module else ""


@cache
def graph() -> dict[str, frozenset[str]]:
    """Module -> the modules that it imports, by absolute names; of offramp those that exist, else as it is written."""
    modules = {module_of(source): source for source in sources()}
    return {module: frozenset(_imports(source, frozenset(modules)) - {module}) for module, source in modules.items()}


def _imports(source: Path, modules: frozenset[str]) -> set[str]:
    package = module_of(source).split(".")
    if source.name != "__init__.py":
        package.pop()
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                found.add(inner if inner in modules or inner == "offramp._native" else module)
    return found


def circles(graph: Mapping[str, Collection[str]]) -> Iterator[list[str]]:
    """Groups of files each of which imports, by whatever way round, all others of its group (Tarjan)."""
    edges = {module: {other for other in found if other in graph} for module, found in graph.items()}
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> Iterator[list[str]]:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for other in sorted(edges[module]):
            if other not in order:
                yield from visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                yield sorted(group)

    for module in sorted(edges):
        if module not in order:
            yield from visit(module)
