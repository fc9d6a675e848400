# SPDX-License-Identifier: Apache-2.0
"""How long an interface is without carrier when XDP is attached and detached: tried, because only the driver knows.

A program that passes every packet is attached for a moment. Time counts from the call until the carrier stays, so it
is an upper bound; whether the carrier went at all, the kernel's counter says (IFLA_CARRIER_DOWN_COUNT).
"""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass

from offramp.bpf import Map, MapType, Program, XdpLink, XdpMode
from offramp.compile import COUNTERS, MapSlot, Spec, xdp
from offramp.errors import InterfaceDown, InterfaceError, KernelError
from offramp.interface import Interface
from offramp.matcher import Match
from offramp.nic.link import carrier, carrier_losses
from offramp.verdict import Verdict

__all__ = ["Flap", "measure"]

_SETTLE = 0.5  # seconds: a driver that resets its link later than that is not caught
_PATIENCE = 30.0
_TURN = 0.002


@dataclass(frozen=True, slots=True)
class Flap:
    """Seconds without carrier, at most; 0.0: it was never lost."""

    mode: XdpMode  # that the driver took
    attach: float
    detach: float


def measure(interface: str) -> Flap:
    """Attach XDP and detach it. Takes a second, and as long as the carrier is gone: traffic is interrupted meanwhile.

    Needs the privileges of `attach`. Errors: NoSuchInterface, InterfaceDown (no carrier), InterfaceBusy (another
    process, or another program), PrivilegeError, KernelError, InterfaceError: the carrier did not come back.
    """
    with Interface.of(interface) as shared:
        ifindex = shared.nic.identity.ifindex
        if not carrier(ifindex):
            hint = f"ip link set {interface} up, and its peer"
            raise InterfaceDown(f"measuring {interface}", reason="it has no carrier", hint=hint)
        spec = Spec(Match("").lowered(), None, Verdict.PASS, 1, None, vlan_metadata=False)
        with (
            Map.create(MapType.PERCPU_ARRAY, 4, 8 * len(COUNTERS), 1, name="offramp_counts") as counters,
            Program.load(xdp(spec), name="offramp_measure", maps={MapSlot.COUNTERS: counters}) as program,
        ):
            began, losses = time.monotonic(), carrier_losses(ifindex)
            with _attached(program, ifindex) as link:
                attach = _gone(interface, ifindex, began, losses)
                began, losses = time.monotonic(), carrier_losses(ifindex)
            return Flap(link.mode, attach, _gone(interface, ifindex, began, losses))


def _attached(program: Program, ifindex: int) -> XdpLink:
    try:
        return XdpLink.attach(program, ifindex, "native")
    except KernelError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    return XdpLink.attach(program, ifindex, "generic")


def _gone(interface: str, ifindex: int, began: float, losses: int) -> float:
    """Seconds from when something was done until the carrier was back; 0.0 if it was never lost."""
    done = back = time.monotonic()
    while True:
        now, there = time.monotonic(), carrier(ifindex)
        if there and now - done >= _SETTLE:
            return back - began if carrier_losses(ifindex) != losses else 0.0
        if now - began > _PATIENCE:
            raise InterfaceError(f"{interface} lost its carrier", reason=f"it was not back after {_PATIENCE:g} s")
        if not there:
            back = now + _TURN
        time.sleep(_TURN)
