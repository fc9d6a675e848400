# SPDX-License-Identifier: Apache-2.0
"""Knobs: the settings of an interface that offramp may change, each a name and a JSON value. Pure: no I/O.

    mtu                  int, bytes           vf.count          int: 0 takes all away
    up                   bool                 vf.autoprobe      bool: new VFs get their driver at once
    channels             {rx, tx, combined}   vf.N.mac          "02:00:00:00:00:01"
    rings                {rx, tx}             vf.N.vlan         int: id | priority << 13; 0: untagged
    feature.NAME         bool                 vf.N.trust        bool
    rss.table            [queue, ...]         vf.N.spoof_check  bool
    rss.key              "6d:5a:..."          rule.LOCATION     {"flow-type": "udp4", "dst-port": 53, "action": 3}
    rss.function         "toeplitz"           pci.driver        "vfio-pci"
    rss.fields.FLOW      "sdfn"               vf.N.driver          "igbvf"

None stands for "does not exist now": a location without a rule, a VF that does not exist, a device without a driver.
Setting None removes a rule or a driver; nothing else can be removed. offramp never changes a setting that is not in
this list, and never writes it to a journal or reads it from one. NAME is the kernel's: "rx-gro", "rx-vlan-hw-parse".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from offramp.errors import OptionError
from offramp.steering import Rule

if TYPE_CHECKING:
    from offramp.facts.capabilities import Capabilities
    from offramp.facts.identity import Identity

__all__ = ["Nic", "Value", "check", "personal", "removable"]

Value = Any  # None | bool | int | str | list[int] | dict[str, int | str]: what JSON can say

_LARGEST_TABLE = 1 << 16


class Nic(Protocol):
    """Something with knobs: a live interface (nic/live.py), a software NIC (testing/software_nic.py)."""

    @property
    def identity(self) -> Identity: ...

    def get(self, knob: str) -> Value:
        """The value now, in `check`'s form; None: it does not exist now. Errors: OptionError, InterfaceGone."""

    def set(self, knob: str, value: Value) -> None:
        """Change it. The caller has to check with `get` whether this had an effect.

        Errors: OptionError (not a knob, or not a value of it), KernelError, PrivilegeError, InterfaceGone.
        """

    def capabilities(self) -> Capabilities:
        """What the interface can do."""

    def mark(self, mark: str) -> None:
        """Give it an alternative name of ours, and from now on reach it by that alone (`identity.mark`). So nobody else
        is read or changed, whatever is renamed, removed or made meanwhile. Marking it again does nothing.

        Errors: InterfaceGone, KernelError, PrivilegeError.
        """

    def unmark(self) -> None:
        """Take the mark away, if it has one. Errors: KernelError, PrivilegeError."""


def check(knob: str, value: Value) -> Value:
    """The value in its one form: a rule without bits that are not compared, a key in lower case, and so on.

    Errors: OptionError for a name that is not a knob, or for a value that does not have the knob's shape.
    """
    for pattern, form in _KNOBS:
        if pattern.fullmatch(knob):
            try:
                return None if value is None else form(value)
            except (TypeError, ValueError) as error:
                raise OptionError(f"{knob}={value!r}", reason=str(error) or "not a value of this knob") from None
    raise OptionError(f"knob {knob!r}", reason="offramp does not change such a setting")


def personal(knob: str) -> bool:
    """Whether it serves the one who changed it alone, as a rule or a VF does; offloads may serve others as well."""
    return knob.startswith(("rule.", "vf."))


def removable(knob: str) -> bool:
    """Whether it can be set to None; a rule and a driver can."""
    return knob.startswith("rule.") or knob.endswith(".driver")


def _number(bits: int) -> Callable[[Value], int]:
    def form(value: Value) -> int:
        if type(value) is not int or not 0 <= value < 1 << bits:
            raise ValueError(f"not a number from 0 to {(1 << bits) - 1}")
        return value

    return form


def _flag(value: Value) -> bool:
    if type(value) is not bool:
        raise ValueError("neither true nor false")
    return value


def _text(pattern: str) -> Callable[[Value], str]:
    def form(value: Value) -> str:
        if type(value) is not str or not re.fullmatch(pattern, value):
            raise ValueError(f"not of the form {pattern}")
        return value

    return form


def _counts(*names: str) -> Callable[[Value], dict[str, int]]:
    def form(value: Value) -> dict[str, int]:
        if type(value) is not dict or set(value) != set(names):
            raise ValueError(f"not an object with {', '.join(names)}")
        return {name: _number(32)(value[name]) for name in names}

    return form


def _table(value: Value) -> list[int]:
    if type(value) is not list or not 0 < len(value) <= _LARGEST_TABLE:
        raise ValueError(f"not a list of 1 to {_LARGEST_TABLE} queues")
    return [_number(32)(queue) for queue in value]


def _octets(least: int, most: int) -> Callable[[Value], str]:
    def form(value: Value) -> str:
        if type(value) is not str or not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2})*", value):
            raise ValueError("not bytes as aa:bb:...")
        if not least <= value.count(":") + 1 <= most:
            raise ValueError(f"not {least} to {most} bytes" if least != most else f"not {least} bytes")
        return value.lower()

    return form


def _rule(value: Value) -> dict[str, int | str]:
    if type(value) is not dict:
        raise ValueError("not an object")
    return Rule.from_value(value).normal().to_value()


_FLOWS = "ether|(?:tcp|udp|sctp|ah|esp|ip)[46]"

_KNOBS: tuple[tuple[re.Pattern[str], Callable[[Value], Value]], ...] = tuple(
    (re.compile(pattern), form)
    for pattern, form in (
        (r"mtu|vf\.count", _number(31)),
        (r"up|vf\.autoprobe|feature\.[a-z0-9-]{1,31}", _flag),
        (r"channels", _counts("rx", "tx", "combined")),
        (r"rings", _counts("rx", "tx")),
        (r"rss\.table", _table),
        (r"rss\.key", _octets(1, 256)),
        (r"rss\.function", _text(r"[a-z0-9-]{1,31}")),
        (rf"rss\.fields\.(?:{_FLOWS})", _text("[mvtsdfnr]*")),
        (r"rule\.(?:0|[1-9][0-9]{0,8})", _rule),
        (r"vf\.(?:0|[1-9][0-9]{0,2})\.mac", _octets(6, 6)),
        (r"vf\.(?:0|[1-9][0-9]{0,2})\.vlan", _number(16)),
        (r"vf\.(?:0|[1-9][0-9]{0,2})\.(?:trust|spoof_check)", _flag),
        (r"(?:pci|vf\.(?:0|[1-9][0-9]{0,2}))\.driver", _text(r"[A-Za-z0-9_-]{1,63}")),
    )
)
