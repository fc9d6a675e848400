# SPDX-License-Identifier: Apache-2.0
"""A software NIC: a `Nic` over a dictionary. It behaves well or badly, as a test wants, and steers frames.

    nic = SoftwareNic(queues=4)
    nic.refuse("rule.", errno.EOPNOTSUPP)       the driver refuses every knob whose name begins like this
    nic.ignore("rss.table")                     accepted, but without effect
    nic.hide("rings")                           it cannot be read
    nic.fail_at(3)                              the third change fails, and with keep=True all after it
    nic.set("rule.7", {"flow-type": "udp4", "dst-port": 53, "action": 2})
    nic.queue_of(frame)                         2: the model of steering.model

It starts like an 82599 whose driver was just loaded, but with fewer rule slots. `changes` lists what was set, in order.
It needs no privileges, no kernel and no thread. Each test has a NIC of its own.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from offramp.errors import InterfaceGone, KernelError, OptionError
from offramp.facts.capabilities import NTUPLE
from offramp.facts.identity import Identity
from offramp.facts.knobs import Value, check, removable
from offramp.facts.offloads import GRO, LRO, VLAN_STRIPPING
from offramp.steering import Rss, Rule, Steering, equal
from offramp.steering.toeplitz import MICROSOFT_KEY

if TYPE_CHECKING:
    from offramp.facts.capabilities import Capabilities

__all__ = ["KEY", "SoftwareNic"]

KEY = MICROSOFT_KEY

_HASHED = {
    "tcp4": "sdfn",
    "udp4": "sd",
    "sctp4": "sd",
    "ip4": "sd",
    "tcp6": "sdfn",
    "udp6": "sd",
    "sctp6": "sd",
    "ip6": "sd",
}
_FEATURES = {
    GRO.feature: True,
    LRO.feature: False,
    VLAN_STRIPPING.feature: True,
    NTUPLE: True,
}
_VF = {"mac": "00:00:00:00:00:00", "vlan": 0, "trust": False, "spoof_check": True}
_VF_DRIVER = "ixgbevf"
_MTU = range(68, 9711)
_RINGS = 4096


class SoftwareNic:
    """See `facts.knobs.Nic`. A test may change `knobs` directly: that stands for somebody else at
    the same interface.
    """

    def __init__(
        self,
        name: str = "soft0",
        *,
        queues: int = 4,
        most_queues: int = 16,
        table_size: int = 128,
        slots: int = 8,
        vfs: int = 4,
        ip_is_other: bool = False,
    ) -> None:
        self.identity = Identity(name, 7, "02:00:00:00:00:01", "0000:02:00.0", "ixgbe", 1, "boot")
        self.most_queues, self.slots, self.most_vfs, self.ip_is_other = most_queues, slots, vfs, ip_is_other
        self.gone = False
        self.changes: list[tuple[str, Value]] = []
        self.on_set: Callable[[str, Value], None] = lambda knob, value: None  # called before each change
        self._refused: dict[str, int] = {}
        self._hidden: dict[str, int] = {}
        self._ignored: set[str] = set()
        self._fails: tuple[int, int, bool] | None = None
        self._tries = 0
        self._table_is_chosen = False  # by somebody: then the kernel keeps it when the channels change
        self.knobs: dict[str, Value] = {
            "mtu": 1500,
            "up": True,
            "channels": {"rx": 0, "tx": 0, "combined": queues},
            "rings": {"rx": 512, "tx": 512},
            "rss.table": equal(table_size, queues),
            "rss.key": KEY,
            "rss.function": "toeplitz",
            "vf.count": 0,
            "vf.autoprobe": True,
            "pci.driver": "ixgbe",
        }
        self.knobs |= {f"rss.fields.{flow}": letters for flow, letters in _HASHED.items()}
        self.knobs |= {f"feature.{feature}": on for feature, on in _FEATURES.items()}

    # -- how it behaves --------------------------------------------------------------------------------------------

    def refuse(self, prefix: str, code: int = errno.EOPNOTSUPP) -> None:
        """From now on, setting a knob whose name begins with `prefix` fails with this errno."""
        self._refused[prefix] = code

    def ignore(self, prefix: str) -> None:
        """From now on, setting a knob whose name begins with `prefix` silently has no effect."""
        self._ignored.add(prefix)

    def fail_at(self, step: int, code: int = errno.EIO, *, keep: bool = False) -> None:
        """The step-th change from now on (1: the next) fails; with `keep`, so do all after it."""
        self._fails = (self._tries + step, code, keep)

    def hide(self, prefix: str, code: int = errno.EIO) -> None:
        """From now on, reading a knob whose name begins with `prefix` fails with this errno."""
        self._hidden[prefix] = code

    def behave(self) -> None:
        """From now on everything works again."""
        self._refused.clear()
        self._hidden.clear()
        self._ignored.clear()
        self._fails = None

    def rename(self, name: str) -> None:
        """Give it another name, as `ip link set name` does; it stays the same device."""
        self.identity = replace(self.identity, name=name)

    # -- a Nic -----------------------------------------------------------------------------------------------------

    def get(self, knob: str) -> Value:
        check(knob, None)
        self._check_present()
        self._fail_if_named(self._hidden, knob)
        value = self.knobs.get(knob)
        return value.copy() if isinstance(value, dict | list) else value

    def set(self, knob: str, value: Value) -> None:
        value = check(knob, value)
        if value is None and not removable(knob):
            raise OptionError(f"{knob} of {self.identity.name}", reason="it always has a value and cannot be removed")
        self._check_present()
        self.on_set(knob, value)
        self._misbehave(knob)
        if any(knob.startswith(prefix) for prefix in self._ignored):
            return
        self._check_possible(knob, value)
        self.changes.append((knob, value))
        if value is None:
            self.knobs.pop(knob, None)
        else:
            self.knobs[knob] = value
        self._follow(knob)

    def mark(self, mark: str) -> None:
        self._check_present()
        self.identity = replace(self.identity, mark=mark)

    def unmark(self) -> None:
        self.identity = replace(self.identity, mark="")

    def capabilities(self) -> Capabilities:
        """The record of ixgbe with this NIC's sizes and settings."""
        from offramp.facts.capabilities import Capabilities, Feature, Ntuple, Queues, Rings, Vf, Vfs, with_record
        from offramp.facts.capabilities import Rss as RssSupport
        from offramp.facts.records import record

        queues, count = self.knobs["channels"]["combined"], self.knobs["vf.count"]
        drivers = [self.knobs.get(f"vf.{number}.driver", "") for number in range(count)]
        functions = [Vf(driver, f"vf{n}" if driver else "", up=False) for n, driver in enumerate(drivers)]
        switches = {name.removeprefix("feature."): on for name, on in self.knobs.items() if name.startswith("feature.")}
        live = Capabilities(
            interface=self.identity.name,
            driver=self.identity.driver,
            bus=self.identity.bus,
            lower=(),
            up=self.knobs["up"],
            mtu=self.knobs["mtu"],
            queues=Queues(queues, queues, self.most_queues, self.most_queues, combined=True),
            rings=Rings(**self.knobs["rings"], rx_max=_RINGS, tx_max=_RINGS),
            rss=RssSupport(
                table_size=len(self.knobs["rss.table"]),
                fields=self._fields(),
                function="toeplitz",
                table=tuple(self.knobs["rss.table"]),
                key=self.knobs["rss.key"],
            ),
            ntuple=Ntuple(
                supported=True,
                on=self.knobs[f"feature.{NTUPLE}"],
                slots=self.slots,
                one_mask_per="rule",
                ip_is_other=self.ip_is_other,
                rules=tuple(map(str, self.rules())),
            ),
            vfs=Vfs(self.most_vfs, count, now=tuple(functions)),
            features={name: Feature(on, fixed=False) for name, on in switches.items()},
        )
        return with_record(live, record("ixgbe"))

    # -- the receive side ------------------------------------------------------------------------------------------

    def rules(self) -> tuple[Rule, ...]:
        """The rules, by location."""
        places = {int(name[5:]): value for name, value in self.knobs.items() if name.startswith("rule.")}
        return tuple(Rule.from_value(places[place], place) for place in sorted(places))

    def queue_of(self, frame: bytes) -> int | None:
        """The queue that a frame (without FCS) arrives on; None: dropped by a rule, or gone to a VF."""
        on = self.knobs[f"feature.{NTUPLE}"]
        table = tuple(self.knobs["rss.table"])
        spread = Rss(table, bytes.fromhex(self.knobs["rss.key"].replace(":", "")), self._fields())
        return Steering(spread, self.rules() if on else (), self.ip_is_other).queue_of(frame)

    def _fields(self) -> dict[str, str]:
        begin = "rss.fields."
        return {name.removeprefix(begin): value for name, value in self.knobs.items() if name.startswith(begin)}

    # -- inside ----------------------------------------------------------------------------------------------------

    def _check_present(self) -> None:
        if self.gone:
            raise InterfaceGone(self.identity.name, reason="there is no such interface in this network namespace")

    def _misbehave(self, knob: str) -> None:
        self._tries += 1
        self._fail_if_named(self._refused, knob)
        if self._fails is not None:
            step, code, keep = self._fails
            if self._tries == step or (keep and self._tries > step):
                raise KernelError(f"{knob} of {self.identity.name}", code)

    def _fail_if_named(self, codes: dict[str, int], knob: str) -> None:
        for prefix, code in codes.items():
            if knob.startswith(prefix):
                raise KernelError(f"{knob} of {self.identity.name}", code)

    def _check_possible(self, knob: str, value: Value) -> None:
        """Refuse what this NIC's driver would refuse."""
        queues = self.knobs["channels"]["combined"]
        code = 0
        match knob.split("."):
            case ["mtu"] if value not in _MTU:
                code = errno.EINVAL
            case ["rings"] if not 0 < min(value.values()) <= max(value.values()) <= _RINGS:
                code = errno.EINVAL
            case ["channels"] if value["rx"] or value["tx"] or not 0 < value["combined"] <= self.most_queues:
                code = errno.EINVAL
            case ["channels"] if self._table_is_chosen and max(self.knobs["rss.table"]) >= value["combined"]:
                code = errno.EINVAL  # as ethtool_set_channels does
            case ["rss", "table"] if len(value) != len(self.knobs["rss.table"]) or max(value) >= queues:
                code = errno.EINVAL
            case ["rss", "key"] if len(value) != len(KEY):
                code = errno.EINVAL
            case ["rule", location]:
                code = self._rule_error(int(location), value, queues)
            case ["vf", "count"] if value > self.most_vfs:
                code = errno.ERANGE
            case ["vf", number, _] if number.isdecimal() and int(number) >= self.knobs["vf.count"]:
                code = errno.EINVAL
            case ["feature", _] if knob not in self.knobs:
                code = errno.EOPNOTSUPP
        if code:
            raise KernelError(f"{knob} of {self.identity.name}", code)

    def _rule_error(self, location: int, value: Value, queues: int) -> int:
        if value is None:
            return 0 if f"rule.{location}" in self.knobs else errno.ENOENT
        if not self.knobs[f"feature.{NTUPLE}"]:
            return errno.EOPNOTSUPP
        if self.knobs.get(f"rule.{location}", value) != value:
            return errno.EEXIST
        if location >= self.slots:
            return errno.ENOSPC if len(self.rules()) >= self.slots else errno.EINVAL
        rule = Rule.from_value(value)
        if rule.vf is not None:
            return 0 if rule.vf < self.knobs["vf.count"] else errno.EINVAL
        return errno.EINVAL if rule.queue is not None and rule.queue >= queues else 0

    def _follow(self, knob: str) -> None:
        """Make the changes that this one brings with it."""
        size, queues = len(self.knobs["rss.table"]), self.knobs["channels"]["combined"]
        if knob == "rss.table":
            self._table_is_chosen = self.knobs["rss.table"] != equal(size, queues)  # as nic/rss.py sets a default one
        if knob == "channels" and not self._table_is_chosen:
            self.knobs["rss.table"] = equal(size, queues)
        if knob == "vf.count":
            old = [name for name in self.knobs if name.startswith("vf.") and name.count(".") == 2]
            for name in old:
                del self.knobs[name]
            for number in range(self.knobs["vf.count"]):
                self.knobs |= {f"vf.{number}.{part}": value for part, value in _VF.items()}
                self.knobs |= {f"vf.{number}.driver": _VF_DRIVER} if self.knobs["vf.autoprobe"] else {}
