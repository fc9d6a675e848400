# SPDX-License-Identifier: Apache-2.0
"""Sets in files: one element on each line, '#' begins a comment. The first line says what the rest is.

    # offramp HashSet family=ip capacity=65536
    192.0.2.1

Lists from elsewhere, without that line, can be read as well.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from pathlib import Path
from typing import Final, NamedTuple

from offramp import reading
from offramp.errors import KernelError, OptionError

__all__ = ["Header", "first_element", "read", "write"]

MOST: Final = 1 << 28  # bytes of a file: 60 for each element of the largest set

_HEADER = re.compile(r"# offramp (?P<kind>\w+) family=(?P<family>\w+) capacity=(?P<capacity>\d{1,18})[^\S\n]*\n")
_ELEMENT = re.compile(r"^[^\S\n]*([^#\s]+)", re.MULTILINE)


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
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
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
    what = f"loading a set from {os.fspath(path)}"
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


def first_element(text: str) -> str | None:
    """The element in the first line that is neither blank nor a comment."""
    found = _ELEMENT.search(text)
    return found[1] if found else None
