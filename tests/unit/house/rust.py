# SPDX-License-Identifier: Apache-2.0
"""Which file uses which in a crate, read from the sources: the paths in them that begin at the crate or near by.

A file that is a module's tests, and an inline `mod tests`, may use anything. What lib.rs hands out again counts as
lib.rs: a file names the module that it means, not the crate's face.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["CRATES", "graph", "sources"]

CRATES = Path(__file__).parents[3] / "crates"


def sources(crate: str) -> dict[str, str]:
    """File -> its source, without comments."""
    folder = CRATES / crate / "src"
    return {str(source.relative_to(folder)): re.sub(r"//.*", "", source.read_text()) for source in folder.rglob("*.rs")}


def graph(crate: str) -> dict[str, set[str]]:
    """Module -> the modules of the same crate that it uses; the crate itself is ""."""
    found = {_module_of(name): source for name, source in sources(crate).items() if not name.endswith("tests.rs")}
    return {module: set(_uses(module, source, set(found))) - {module} for module, source in found.items()}


def _module_of(name: str) -> str:
    """`ports::uri` of ports/uri.rs, `ports` of ports/mod.rs, "" of lib.rs."""
    return re.sub(r"(^|/)(lib|mod)$", "", name.removesuffix(".rs")).replace("/", "::")


def _uses(module: str, source: str, modules: set[str]) -> Iterator[str]:
    source = re.sub(r"#\[cfg\(test\)\]\s*(pub\S* )?mod tests \{.*", "", source, flags=re.DOTALL)
    children = [other.rpartition("::")[2] for other in modules if other and other.rpartition("::")[0] == module]
    first = "|".join(["crate", "super", "self", *children])
    for start in re.finditer(rf"(?<![\w:])(?:{first})(?=::)", source):
        for path in _expanded(source[start.start() :]):
            yield _file_of(_absolute(module, path), modules)


def _expanded(text: str) -> Iterator[list[str]]:
    """The paths that `text` begins with: a::{b, c::d} is two."""
    head = re.match(r"\w+(?:::\w+)*", text)
    if head is None:
        return
    path, rest = head[0].split("::"), text[head.end() :]
    if not rest.startswith("::{"):
        yield path
        return
    depth, entry = 0, ""
    for letter in rest[2:]:
        depth += (letter == "{") - (letter == "}")
        if depth == 0 or (depth == 1 and letter == ","):
            yield from ([*path, *tail] for tail in _expanded(entry.strip()))
            entry = ""
        elif depth > 1 or letter != "{":
            entry += letter
        if depth == 0:
            return


def _absolute(module: str, path: list[str]) -> list[str]:
    here = module.split("::") if module else []
    if path[0] == "crate":
        return path[1:]
    while path and path[0] in ("super", "self"):
        here = here[:-1] if path[0] == "super" else here
        path = path[1:]
    return here + path


def _file_of(path: list[str], modules: set[str]) -> str:
    """The module that the path leads into."""
    while path and "::".join(path) not in modules:
        path = path[:-1]
    return "::".join(path)
