# SPDX-License-Identifier: Apache-2.0
"""How long an interface is without carrier when XDP is attached and detached. It is tried: only the driver knows.

A program that passes every packet is attached for a moment.
"""

from __future__ import annotations

import errno
from contextlib import closing

from offramp import process
from offramp.bpf import Map, MapType, Program, Scope, XdpLink, XdpMode, bind
from offramp.emit.match import MatchBody
from offramp.emit.program import COUNTERS, MapSlot, Spec
from offramp.errors import InterfaceDown, KernelError
from offramp.immutable import immutable
from offramp.llvm.programs import xdp
from offramp.matcher import Match
from offramp.nic import carrier
from offramp.nic.carrier_watch import CarrierWatch
from offramp.ramp.interface import Use
from offramp.verdict import Verdict

__all__ = ["Flap", "measure"]

_SETTLE = 0.5  # seconds; if a driver resets its link later, this is not noticed
_PATIENCE = 30.0


@immutable
class Flap:
    """The seconds without carrier, at most; 0.0: the carrier was never lost."""

    mode: XdpMode  # the mode that the driver took
    attach: float
    detach: float


def measure(interface: str) -> Flap:
    """Attach XDP and detach it. Takes a second, and as long as the carrier is gone; traffic is interrupted meanwhile.

    Needs the privileges of `attach`. Errors: NoSuchInterface, InterfaceDown (no carrier), InterfaceBusy (another
    process, or another program), PrivilegeError, KernelError, InterfaceError if the carrier did not come back.
    """
    with process.alone(), closing(Use()) as use:
        ifindex = use.of(interface).nic.identity.ifindex
        if not carrier(ifindex):
            hint = f"ip link set {interface} up, and its peer"
            raise InterfaceDown(f"measuring {interface}", reason="it has no carrier", hint=hint)
        compiled = xdp(Spec(MatchBody(Match("").lowered(), Verdict.PASS)))
        with (
            Map.create(MapType.PERCPU_ARRAY, 4, 8 * len(COUNTERS), 1, name="offramp_counts") as counters,
            bind(compiled, Scope({MapSlot.COUNTERS: counters})) as maps,
            Program.load(compiled, name="offramp_measure", maps=maps) as program,
        ):
            watch = CarrierWatch(interface, ifindex)
            with _attached(program, ifindex) as link:
                attach = watch.gone("when XDP was attached", settle=_SETTLE, patience=_PATIENCE)
                watch = CarrierWatch(interface, ifindex)
            detach = watch.gone("when XDP was detached", settle=_SETTLE, patience=_PATIENCE)
            return Flap(link.mode, attach, detach)


def _attached(program: Program, ifindex: int) -> XdpLink:
    try:
        return XdpLink.attach(program, ifindex, "native")
    except KernelError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    return XdpLink.attach(program, ifindex, "generic")
