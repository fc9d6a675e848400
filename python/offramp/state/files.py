# SPDX-License-Identifier: Apache-2.0
"""Sets in files: one element on each line, '#' and ';' begin a comment. The first line says what the rest is.

    # offramp HashSet family=ip capacity=65536
    192.0.2.1

Lists from elsewhere, without that line, can be read as well, in the formats of docs/sets.md: crates/offramp-state reads
the lines (text.rs); here only the first one is looked at, for the family of the set.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from offramp import arguments, reading
from offramp.arguments import short
from offramp.errors import KernelError, OptionError

__all__ = ["Header", "first_element", "read", "write"]

MOST: Final = 1 << 28  # bytes of a file: 60 for each element of the largest set

_HEADER = re.compile(r"# offramp (?P<kind>\w+) family=(?P<family>\w+) capacity=(?P<capacity>\d{1,18})[^\S\n]*\n")
_ELEMENT = re.compile(r"^[^\S\n]*(?!create\s)(?:add[^\S\n]+[^#;\s]+[^\S\n]+)?(?P<element>[^#;\s]+)", re.MULTILINE)


class First(NamedTuple):
    """The element in the first line that has one."""

    element: str
    number: int  # of the line
    line: str


class Header(NamedTuple):
    """What a file's first line says about the saved set."""

    kind: str  # the class
    family: str
    capacity: int

    def __str__(self) -> str:
        return f"# offramp {self.kind} family={self.family} capacity={self.capacity}\n"


def write(path: str | os.PathLike[str], header: Header, lines: str) -> None:
    """Replace the whole file at `path`: it has the old content or the new one, whenever the machine stops.

    A file that exists keeps its permissions. Errors: KernelError.
    """
    target = Path(os.path.realpath(_checked(path)))
    if not target.name:
        raise OptionError(f"path={short(path)}", reason="it has no name")
    temporary = target.with_name(f".{target.name}.{os.urandom(6).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                if target.exists():
                    os.fchmod(descriptor, target.stat().st_mode & 0o777)
                file.write(f"{header}{lines}")
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise KernelError(f"saving a set to {os.fspath(path)}", error.errno or 0) from error


def read(path: str | os.PathLike[str]) -> tuple[str, Header | None]:
    """The file's text, and its header if it has one. Errors: KernelError; OptionError for a file that is not text."""
    what = f"loading a set from {_checked(path)}"
    try:
        data = reading.content(what, path, MOST)
        if len(data) > MOST:
            raise OptionError(what, reason=f"longer than {MOST >> 20} MiB: no set is that large")
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise KernelError(what, error.errno or 0) from error
    except UnicodeDecodeError as error:
        raise OptionError(what, reason=f"byte {error.start} is not text") from error
    except MemoryError:
        raise KernelError(what, errno.ENOMEM) from None
    found = _HEADER.match(text)
    return text, Header(found["kind"], found["family"], int(found["capacity"])) if found else None


def _checked(path: str | os.PathLike[str]) -> str:
    """The path as text. Errors: OptionError."""
    found: object = ""
    with suppress(TypeError):
        found = os.fspath(path)
    if not isinstance(found, str) or not found or "\0" in arguments.text("path", found):
        raise OptionError(f"path={short(path)}", reason="not the path of a file")
    return found


def first_element(text: str) -> First | None:
    """The element in the first line that is neither blank nor a comment."""
    found = _ELEMENT.search(text)
    if found is None:
        return None
    number = text.count("\n", 0, found.start()) + 1
    return First(found["element"], number, text[found.start() :].partition("\n")[0].strip())
