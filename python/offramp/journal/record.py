# SPDX-License-Identifier: Apache-2.0
"""What a journal says, as values and as bytes. Pure: the store reads and writes the files.

    {"offramp journal": 1,                           the schema's version; other versions are not read
     "device": {"name": "eth0", "ifindex": 2, ...},  Identity: which interface
     "namespace": 4,                                 the cookie of its network namespace: not used twice in a boot
     "owner": {"pid": 4321, "command": "offramp"},   who made the changes: only for people: nothing depends on it
     "moment": 81234567890,                          when: nanoseconds after the boot that the device names
     "kept": false,                                  true: they stay after the owner's end, until `offramp restore`
     "changes": [{"knob": "mtu",                     in the order in which they were made
                  "before": 1500, "after": 3000,
                  "pending": true,                   it was about to be made: it may or may not have happened
                  "reason": ""}]}                    why it could not be given back when that was tried

A journal is read as if an enemy had written it: it must have all of these fields, no others, of exactly these types,
and knobs and values that facts/knobs.py knows. The name of an interface may have any letters that the kernel lets it
have; other texts are printable. Anything else is a JournalError, and nothing in that journal is carried out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby
from typing import Any

from offramp.errors import JournalError, OptionError
from offramp.facts.identity import Identity
from offramp.facts.knobs import Value, check
from offramp.immutable import immutable
from offramp.text import encoded, printable

__all__ = ["MOST_BYTES", "MOST_TEXT", "Changed", "Record", "decode", "encode", "short"]

MOST_BYTES = 4 << 20  # ten thousand rules
MOST_CHANGES = 20_000

_VERSION_KEY, _VERSION = "offramp journal", 1
_RECORD = {"device": dict, "namespace": int, "owner": dict, "moment": int, "kept": bool, "changes": list}
_OWNER = {"pid": int, "command": str}
_DEVICE = {"name": str, "ifindex": int, "mac": str, "bus": str, "driver": str, "netns": int, "boot": str, "mark": str}
_CHANGE = {"knob": str, "before": object, "after": object, "pending": bool, "reason": str}
MOST_TEXT = 4096
_LINE = 60
_IFNAMSIZ = 16
_NOT_IN_NAMES = b"\0/:\t\n\v\f\r \xa0"  # the kernel's isspace() is that of Latin-1


@immutable
class Changed:
    """A knob that was turned, or is about to be."""

    knob: str
    before: Value
    after: Value
    pending: bool = False  # until it is confirmed; whatever the knob says, we may have set it
    reason: str = ""

    def __str__(self) -> str:
        doubt = " (perhaps)" if self.pending else ""
        reason = f": not restored: {self.reason}" if self.reason else ""
        return printable(f"{self.knob}: {short(self.before)} -> {short(self.after)}{doubt}{reason}")


@immutable
class Record:
    """A journal."""

    device: Identity
    namespace: int  # cookie
    pid: int
    command: str
    moment: int  # CLOCK_BOOTTIME
    kept: bool
    changes: tuple[Changed, ...]

    def is_about(self, device: Identity, namespace: int) -> bool:
        """Whether that device, in the network namespace of that cookie, is the one that was changed.

        Without a mark, a virtual one counts only in the namespace where it was. Elsewhere another may have the same
        number and address, for example in a container that was made in the same way.
        """
        return self.device.same_device(device) and (bool(device.bus) or namespace == self.namespace)


def encode(record: Record) -> bytes:
    """The journal's bytes, which people can read too. Errors: JournalError if they would be too many to read back."""
    content = {
        _VERSION_KEY: _VERSION,
        "device": asdict(record.device),
        "namespace": record.namespace,
        "owner": {"pid": record.pid, "command": record.command},
        "moment": record.moment,
        "kept": record.kept,
        "changes": [],
    }
    head, last = json.dumps(content, indent=1).rsplit("[]", 1)
    lines = ",\n  ".join(json.dumps(asdict(change)) for change in record.changes)
    encoded = f"{head}[\n  {lines}\n ]{last}\n".encode()
    if len(encoded) > MOST_BYTES or len(record.changes) > MOST_CHANGES:
        raise JournalError(f"journal of {record.device.name}", reason=f"{len(record.changes)} changes are too many")
    return encoded


def decode(content: bytes, what: str) -> Record:
    """What the bytes say, checked. `what` names them in an error. Errors: JournalError."""
    try:
        if len(content) > MOST_BYTES:
            raise _Odd(f"{len(content)} bytes, more than {MOST_BYTES}")
        return _record(_json(content))
    except (_Odd, OptionError) as error:
        raise JournalError(what, reason=str(error), hint="left alone: nothing in it is restored") from None


def short(value: Value) -> str:
    """A value as text for one line: a table by its runs (`0 (64 times) 1 (64 times)`), a record by its fields."""
    match value:
        case None:
            text = "none"
        case bool():
            text = "on" if value else "off"
        case list():
            runs = ((item, len(list(run))) for item, run in groupby(value))
            text = " ".join(str(item) if times == 1 else f"{item} ({times} times)" for item, times in runs)
        case dict():
            text = " ".join(f"{field} {content}" for field, content in value.items())
        case _:
            text = str(value)
    return text if len(text) <= _LINE else f"{text[: _LINE - 3]}..."


class _Odd(Exception):
    """It is not what offramp writes."""


def _json(content: bytes) -> Any:
    try:
        return json.loads(content, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _Odd(f"not JSON, or cut off: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Odd("a key occurs twice")
    return found


def _no_constant(name: str) -> None:
    raise _Odd(f"{name} is not allowed")


def _record(found: Any) -> Record:
    version = found.pop(_VERSION_KEY, None) if type(found) is dict else None
    if type(version) is not int:
        raise _Odd("not a journal of offramp")
    if version != _VERSION:
        raise _Odd(f"version {version} of the format; this version of offramp reads version {_VERSION}")
    _fits(found, _RECORD, "the journal")
    _fits(found["owner"], _OWNER, "owner")
    if type(found["device"]) is dict:
        found["device"].setdefault("mark", "")  # journals of earlier versions have none
    _fits(found["device"], _DEVICE, "device")
    if not found["changes"] or len(found["changes"]) > MOST_CHANGES:
        raise _Odd(f"{len(found['changes'])} changes")
    return Record(
        device=Identity(**found["device"]),
        namespace=found["namespace"],
        **found["owner"],
        moment=found["moment"],
        kept=found["kept"],
        changes=tuple(map(_change, found["changes"])),
    )


def _change(found: Any) -> Changed:
    _fits(found, _CHANGE, "a change")
    knob, before, after = found["knob"], found["before"], found["after"]
    return Changed(**found | {"before": check(knob, before), "after": check(knob, after)})


def _fits(found: Any, fields: Mapping[str, type], what: str) -> None:
    """Check for exactly these fields, of exactly these types: True is not a number here."""
    if type(found) is not dict:
        raise _Odd(f"{what} is not an object")
    if found.keys() != fields.keys():
        raise _Odd(f"{what} has other fields than {', '.join(fields)}: {', '.join(found.keys() ^ fields.keys())}")
    for name, kind in fields.items():
        value = found[name]
        if kind is object:  # a knob's value, which `check` checks
            continue
        if type(value) is not kind:
            raise _Odd(f"{what}: {name} is not of type {kind.__name__}")
        if type(value) is int and not 0 <= value < 1 << 64:
            raise _Odd(f"{what}: {name} is out of range")
        if type(value) is str and name == "name" and not _is_name(value):
            raise _Odd(f"{what}: {name} is not the name of an interface")
        if type(value) is str and name != "name" and (len(value) > MOST_TEXT or not value.isprintable()):
            raise _Odd(f"{what}: {name} is not printable text of up to {MOST_TEXT} characters")


def _is_name(text: str) -> bool:
    """Whether the kernel lets an interface have this name: net/core/dev.c, dev_valid_name. "": it has none."""
    try:
        raw = encoded(text)
    except UnicodeEncodeError:
        return False
    return len(raw) < _IFNAMSIZ and raw not in (b".", b"..") and not any(byte in _NOT_IN_NAMES for byte in raw)
