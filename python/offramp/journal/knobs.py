# SPDX-License-Identifier: Apache-2.0
"""Knobs: the settings of an interface that offramp may change, each a name and a JSON value.

    mtu, up, channels, rings, feature.NAME, rss.table, rss.key, rss.fields.FLOW,
    rule.LOCATION, vf.count, vf.autoprobe, vf.N.mac|vlan|trust|spoof_check, pci.driver

Nothing outside this list is ever written to a journal or taken from one. Pure: names and shapes, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from offramp.errors import OptionError

__all__ = ["Identity", "Nic", "Value", "check"]

Value = Any  # None | bool | int | str | list[int] | dict[str, Value]: what JSON can say


@dataclass(frozen=True, slots=True)
class Identity:
    """Which device this is, across renames and reboots."""

    name: str
    ifindex: int
    mac: str  # the permanent one if there is one
    bus: str  # PCI address; "" for virtual devices
    driver: str
    netns: int  # inode
    boot: str  # boot id

    def same_device(self, other: Identity) -> bool:
        """A PCI device by its place and address; a virtual one by its number, which the kernel does not use again."""
        if self.bus or other.bus:
            return (self.bus, self.mac) == (other.bus, other.mac)
        return (self.boot, self.ifindex, self.mac, self.driver) == (other.boot, other.ifindex, other.mac, other.driver)


class Nic(Protocol):
    """Whoever can read and write knobs."""

    @property
    def identity(self) -> Identity: ...

    def get(self, knob: str) -> Value:
        """The value now; None: there is no such thing now. Errors: KernelError, InterfaceGone."""

    def set(self, knob: str, value: Value) -> None:
        """Errors: KernelError, InterfaceGone. Whether it had the effect is for the caller to see."""


def check(knob: str, value: Value) -> Value:
    """The value in its one form. Errors: OptionError for a name that is no knob's, or a value of another shape."""
    for pattern, fits in _KNOBS:
        if pattern.fullmatch(knob):
            if not fits(value):
                raise OptionError(f"{knob}={value!r}", reason="not a value of this knob")
            return value
    raise OptionError(f"knob {knob!r}", reason="no such setting is ever changed")


def _number(value: Value) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _flag(value: Value) -> bool:
    return type(value) is bool


def _text(value: Value) -> bool:
    return type(value) is str and len(value) < 1024


def _numbers(value: Value) -> bool:
    return type(value) is list and len(value) <= 1 << 16 and all(map(_number, value))


def _counts(*names: str) -> Callable[[Value], bool]:
    return lambda value: type(value) is dict and set(value) <= set(names) and all(map(_number, value.values()))


def _rule(value: Value) -> bool:
    return type(value) is dict and len(value) <= 64 and all(_text(key) for key in value)


def _or_none(fits: Callable[[Value], bool]) -> Callable[[Value], bool]:
    return lambda value: value is None or fits(value)


_KNOBS = tuple(
    (re.compile(pattern), _or_none(fits))
    for pattern, fits in (
        (r"mtu|vf\.count", _number),
        (r"up|vf\.autoprobe|feature\.[a-z0-9-]{1,32}", _flag),
        (r"channels", _counts("rx", "tx", "combined")),
        (r"rings", _counts("rx", "tx")),
        (r"rss\.table", _numbers),
        (r"rss\.key|rss\.fields\.[a-z0-9]{1,16}|pci\.driver", _text),
        (r"rule\.[0-9]{1,10}", _rule),
        (r"vf\.[0-9]{1,3}\.mac", _text),
        (r"vf\.[0-9]{1,3}\.vlan", _number),
        (r"vf\.[0-9]{1,3}\.(trust|spoof_check)", _flag),
    )
)
