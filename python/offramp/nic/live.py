# SPDX-License-Identifier: Apache-2.0
"""A real interface as a `Nic`: its knobs, by ioctl, netlink and sysfs.

    mtu, up, vf.N.*                                        netlink: RTM_SETLINK
    channels, rings, feature.*, rss.*, rule.*              SIOCETHTOOL
    vf.count, vf.autoprobe, vf.N.driver, pci.driver        sysfs, by PCI address

A LiveNic is the device, not its name. It is found again after a rename; a PCI device also after its driver was removed
and given back. Most of this goes by name, and while it is asked or changed, the name may become another interface's. So
whoever changes something marks it: an alternative name, which the kernel takes for a name everywhere, and which leaves
the interface only with it. It works in the network namespace that it was opened in; in others it is gone. Reading needs
no privileges; changing needs CAP_NET_ADMIN, and root for sysfs. Minimum kernel: 6.1.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from offramp.errors import InterfaceGone, KernelError, OptionError
from offramp.facts.identity import Identity
from offramp.facts.knobs import Value, check, removable
from offramp.nic import ethtool, features, link, pci, rss, rules, stacked, vf
from offramp.nic import mark as marks
from offramp.nic.device import first, identify, namespace, of_pci, without_interface
from offramp.steering import Rule
from offramp.syscalls import netlink
from offramp.syscalls.ioctl import name_of

if TYPE_CHECKING:
    from offramp.facts.capabilities import Capabilities

__all__ = ["LiveNic", "find", "open_nic"]

_Found = TypeVar("_Found")

_MTU = 4
_IFF_UP = 1


def open_nic(interface: str) -> LiveNic:
    """The interface of that name (or alternative name) here, or the PCI device of that address.

    Errors: NoSuchInterface, with a similar name if there is one.
    """
    if pci.present(interface):
        return LiveNic(of_pci(interface) or without_interface(interface))
    with suppress(KernelError):
        if "\0" not in interface:  # the kernel would stop reading there
            return LiveNic(identify(interface))
    return LiveNic(identify(link.read(interface).ifindex))  # its error names the interfaces that exist


def find(identity: Identity) -> LiveNic | None:
    """The same device in this network namespace, whatever it is called now; None: it is not here."""
    if identity.mark and (marked := marks.bearer(identity.mark)):
        return LiveNic(marked)
    if identity.mark and not identity.bus:
        return None
    if found := first(lambda found: found.same_device(identity)):
        return LiveNic(found)
    return LiveNic(without_interface(identity.bus)) if pci.present(identity.bus) else None


class LiveNic:
    """See `knobs.Nic`."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def __repr__(self) -> str:
        return f"LiveNic({self.identity.name or self.identity.bus!r})"

    @property
    def name(self) -> str:
        """A name that leads to it now: its mark, if it has one. Errors: InterfaceGone."""
        if namespace() == self.identity.netns:
            if name := self._name_now():
                return name
            mark = self.identity.mark
            if self.identity.bus and (again := of_pci(self.identity.bus)):  # its driver came back
                self.identity = marks.put(mark, again) if mark else again
                return mark or again.name
        raise self._gone()

    def _name_now(self) -> str | None:
        if not (mark := self.identity.mark):
            return name_of(self.identity.ifindex)
        try:
            netlink.link(mark)
        except KernelError as error:
            if error.errno != errno.ENODEV:
                raise
            return None
        return mark

    def mark(self, mark: str) -> None:
        if self.identity.mark == mark:
            return
        known = self.identity
        self.identity = (
            marks.put(mark, known) if known.ifindex else replace(known, mark=mark)
        )  # or when it has a driver

    def unmark(self) -> None:
        if self.identity.mark:
            marks.take(self.identity.mark)
            self.identity = replace(self.identity, mark="")

    def get(self, knob: str) -> Value:
        check(knob, None)
        try:
            return self._steadily(lambda nic: nic._get(knob))
        except (KernelError, InterfaceGone) as error:
            raise self._in_words(error) from None

    def _steadily(self, read: Callable[[LiveNic], _Found]) -> _Found:
        """What `read` finds out by a name that is this interface's all the while."""
        try:
            if self.identity.mark or not self.name:
                return read(self)
        except InterfaceGone:  # a PCI device has knobs without one
            return read(self)
        return marks.steadily(self.identity.ifindex, lambda name: read(LiveNic(replace(self.identity, mark=name))))

    def _get(self, knob: str) -> Value:
        match knob.split("."):
            case ["mtu" | "up"]:
                _, flags, found = netlink.link(self.name)
                return netlink.unsigned(found.get(_MTU)) if knob == "mtu" else bool(flags & _IFF_UP)
            case ["channels"]:
                channels = ethtool.channels(self.name)
                return channels and {"rx": channels.rx, "tx": channels.tx, "combined": channels.combined}
            case ["rings"]:
                rings = ethtool.rings(self.name)
                return rings and {"rx": rings.rx, "tx": rings.tx}
            case ["feature", name]:
                feature = features.features(self.name).get(name)
                return feature and feature.on
            case ["rss", "fields", flow]:
                return rss.fields(self.name, flow)
            case ["rss", part]:
                return _part(rss.read(self.name), part)
            case ["rule", location]:
                rule = rules.read(self.name, int(location))
                return rule and rule.to_value()
            case ["vf", "count" | "autoprobe"] | ["pci", "driver"]:
                return self._get_pci(knob)
            case ["vf", number, "driver"]:
                address = pci.vf_address(self.identity.bus, int(number))
                return address and pci.driver(address)
            case ["vf", number, part]:
                found_vf = vf.read(self.name).get(int(number))
                return found_vf and getattr(found_vf, part)
        raise AssertionError(knob)

    def set(self, knob: str, value: Value) -> None:
        value = check(knob, value)
        if value is None and not removable(knob):
            raise OptionError(f"{knob} of {self.identity.name}", reason="it always has a value and cannot be removed")
        try:
            self._set(knob, value)
        except (KernelError, InterfaceGone) as error:
            if isinstance(error, KernelError) and error.errno == errno.EOPNOTSUPP and (below := self._below()):
                error.hint = f"{error.hint}; try the interface below it: {', '.join(below)}".removeprefix("; ")
            raise self._in_words(error) from error.__cause__

    def capabilities(self) -> Capabilities:
        from offramp.nic.capable import capabilities

        return self._steadily(lambda nic: capabilities(nic.name, nic.identity.bus))

    def _set(self, knob: str, value: Value) -> None:
        match knob.split("."):
            case ["mtu" | "up"]:
                self._set_link(knob, value)
            case ["channels"]:
                self._set_channels(value)
            case ["rings"]:
                ethtool.set_rings(self.name, **value)
            case ["feature", name]:
                features.set_feature(self.name, name, value)
            case ["rss", "fields", flow]:
                rss.set_fields(self.name, flow, value)
            case ["rss", "key"]:
                rss.set_rss(self.name, key=bytes.fromhex(value.replace(":", "")))
            case ["rss", part]:
                rss.set_rss(self.name, **{part: value})
            case ["rule", location]:
                self._set_rule(int(location), value)
            case ["vf", "count"]:
                pci.set_vf_count(self._bus(knob), value)
            case ["vf", "autoprobe"]:
                pci.set_vf_autoprobe(self._bus(knob), value)
            case ["vf", number, "driver"]:
                address = pci.vf_address(self._bus(knob), int(number))
                if address is None:
                    raise KernelError(f"{knob} of {self.identity.name}", errno.ENOENT, hint="there is no such VF")
                pci.bind(address, value)
            case ["vf", number, part]:
                _SET_VF[part](self.name, int(number), value)
            case ["pci", "driver"]:
                pci.bind(self._bus(knob), value)
            case _:
                raise AssertionError(knob)

    def _set_link(self, knob: str, value: Value) -> None:
        name, what = self.name, f"{knob} {value} on {self.identity.name}"
        if knob == "up":
            netlink.set_link(name, what, flags=_IFF_UP if value else 0, change=_IFF_UP)
            return
        try:
            netlink.set_link(name, what, netlink.attribute(_MTU, struct.pack("I", value)))
        except KernelError as error:
            if error.errno == errno.EINVAL:
                now = link.read(name)
                error.hint = f"it takes {now.min_mtu} to {now.max_mtu or 'what its driver says'}"
            raise

    def _set_channels(self, value: Value) -> None:
        try:
            ethtool.set_channels(self.name, **value)
        except KernelError as error:
            table = self._get("rss.table") if error.errno == errno.EINVAL else None
            if table and max(table) >= value["rx"] + value["combined"]:  # and somebody has chosen it: else it follows
                error.hint = f"its RSS table names queue {max(table)}: change that first"
            raise

    def _set_rule(self, location: int, value: Value) -> None:
        if value is None:
            rules.delete(self.name, location)
        elif self.get(f"rule.{location}") != value:
            rules.insert(self.name, Rule.from_value(value, location))

    def _get_pci(self, knob: str) -> Value:
        if not pci.present(self.identity.bus):
            return None
        if knob == "pci.driver":
            return pci.driver(self.identity.bus)
        if knob == "vf.autoprobe":
            return pci.vf_autoprobe(self.identity.bus)
        count = pci.vf_count(self.identity.bus)
        return count and count[0]

    def _bus(self, knob: str) -> str:
        if not pci.present(self.identity.bus):
            what = f"{knob} of {self.identity.name or self.identity.bus}"
            raise KernelError(what, errno.EOPNOTSUPP, hint="it is not a PCI device")
        return self.identity.bus

    def _in_words(self, error: KernelError | InterfaceGone) -> KernelError | InterfaceGone:
        """By the name that people know, not by the mark."""
        if isinstance(error, InterfaceGone) or error.errno == errno.ENODEV:
            return self._gone()
        if self.identity.mark:
            error.what = error.what.replace(self.identity.mark, self.identity.name)
        return error

    def _gone(self) -> InterfaceGone:
        what = self.identity.name or self.identity.bus
        return InterfaceGone(what, reason="there is no such interface in this network namespace")

    def _below(self) -> tuple[str, ...]:
        try:
            return stacked.lower_devices(self.name)
        except (KernelError, InterfaceGone):
            return ()


_SET_VF: dict[str, Callable[[str, int, Value], None]] = {
    "mac": vf.set_mac,
    "vlan": vf.set_vlan,
    "trust": vf.set_trust,
    "spoof_check": vf.set_spoof_check,
}


def _part(state: rss.RssState | None, part: str) -> Value:
    if state is None:
        return None
    values: dict[str, Value] = {"table": list(state.table), "key": state.key.hex(":"), "function": state.function}
    return values[part] or None
