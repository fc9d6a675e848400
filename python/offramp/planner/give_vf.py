# SPDX-License-Identifier: Apache-2.0
"""A virtual function of its own for the flow: which one, and how the flow gets there."""

from __future__ import annotations

from dataclasses import replace

from offramp.errors import InterfaceBusy, InterfaceDown, OptionError
from offramp.facts.capabilities import Capabilities, Vf
from offramp.planner.layout import Layout, by_rules, check_refused, check_rules, flows_of
from offramp.planner.situation import Situation
from offramp.planner.steer import steered
from offramp.planner.typed import CannotSteer
from offramp.steering import cookie

__all__ = ["virtual_function"]


def virtual_function(situation: Situation, able: Capabilities) -> Layout:
    """Errors: CannotSteer, OptionError, InterfaceBusy, InterfaceDown."""
    link = situation.link
    if able.vfs.total == 0:
        raise CannotSteer("it has no virtual functions")
    if not link.carrier:
        raise InterfaceDown(f"{link.name} has no carrier", reason="its VFs would receive nothing either")
    number, now = _which(situation, able)
    driver = able.vfs.driver or now.driver
    if not driver:
        raise CannotSteer("it is not known which driver its VFs have")
    return replace(_led_to(number, situation, able), vf_driver=driver, vf_bound=now.driver or "")


def _which(situation: Situation, able: Capabilities) -> tuple[int, Vf]:
    """The VF's number, and its state now. Errors: InterfaceBusy, OptionError."""
    link, asked, in_use = situation.link, situation.options.vf, able.vfs.in_use or 0
    if asked is None and situation.beside.queues:
        raise InterfaceBusy(
            f"{link.name} is in use by another ramp of this process",
            reason="making a VF resets its queues",
            hint="make the VFs or open the VF before that ramp",
        )
    if asked is None and in_use:
        raise InterfaceBusy(
            f"{link.name} has {in_use} virtual functions",
            reason="changing their number would remove all of them for a moment",
            hint=_unused(able),
        )
    if asked is not None and asked >= in_use:
        has = f"VFs 0 to {in_use - 1}" if in_use else "no VFs yet"
        hint = "" if in_use else "layout vf, without a number, makes one"
        raise OptionError(f"vf={asked}", reason=f"{link.name} has {has}", hint=hint)
    number = asked or 0
    now = able.vfs.now[number] if asked is not None and able.vfs.now is not None else Vf()
    if now.driver and not now.interface:
        raise InterfaceBusy(
            f"VF {number} of {link.name}",
            reason=f"it is bound to {now.driver} and has no interface in this network namespace",
            hint="if nobody uses it elsewhere: offramp nic PCI-ADDRESS bind none",
        )
    if now.up:
        raise InterfaceBusy(
            f"VF {number} of {link.name}",
            reason=f"in use: its interface {now.interface} is up",
            hint=f"if nobody needs it: ip link set {now.interface} down",
        )
    return number, now


def _unused(able: Capabilities) -> str:
    """The hint that names the VFs that nobody uses, if that is known."""
    in_use, now = able.vfs.in_use or 0, able.vfs.now
    if now is None:
        return f"if nobody uses it, vf=0 to {in_use - 1} uses one of them"
    free = [number for number, each in enumerate(now[:in_use]) if not each.up and (each.interface or not each.driver)]
    return f"vf={free[0]} uses one that nobody uses" if free else ""


def _led_to(number: int, situation: Situation, able: Capabilities) -> Layout:
    """How the flow gets to the VF: by rules, else by destination address. Errors: CannotSteer."""
    link, wide = situation.link, flows_of(situation.match)
    assert wide.flows is not None
    if any(flow.vlan is not None for flow in wide.flows):
        raise CannotSteer("the match names a VLAN, and a VF gets no tagged packets")
    own = _mac_of(link.mac, number)
    try:
        check_refused("rules", situation)
        if not able.ntuple.to_vf:
            raise CannotSteer("its rules can only lead to its own queues")
        check_rules(able, sure=False)
        made = steered(wide.flows, able.ntuple, cookie(0, number), able.driver or link.name)
        return replace(by_rules(Layout("vf", ""), made, wide), vf=number, mac=own, why="as asked")
    except CannotSteer as cannot:
        stations = {flow.edst for flow in wide.flows}
        only = stations.pop() if len(stations) == 1 else None
        mac = only.value.to_bytes(6).hex(":") if only and only.mask == (1 << 48) - 1 else own
        if int(mac[:2], 16) & 1:
            raise CannotSteer(f"{cannot.reason}; and {mac} is a group address, which a VF cannot have") from None
        if mac == link.mac:
            raise CannotSteer(f"{cannot.reason}; and {mac} is the address of {link.name} itself") from None
        why = f"as asked; by destination address, because there are no rules: {cannot.reason}"
        return Layout("vf", why, vf=number, mac=mac, left_out=wide.left_out, arp=wide.arp)


def _mac_of(mac: str, number: int) -> str:
    """A locally administered address (IEEE 802), made from the interface's address alone. The ports of a NIC mostly
    differ in the last octets; so VFs differ in the second one.
    """
    octets = bytearray.fromhex(mac.replace(":", "")) if mac else bytearray(6)
    octets[0] = 0x06 if octets[0] != 0x06 else 0x0A
    octets[1] = (octets[1] + number) & 0xFF
    return octets.hex(":")
