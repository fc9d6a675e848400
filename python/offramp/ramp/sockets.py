# SPDX-License-Identifier: Apache-2.0
"""The sockets of a ramp: bound to its queues, then put into the XSKMAP by which the program finds them.

sections' maps   XSKMAP: receive queue -> socket       heartbeats: when the reader of each queue was last there
bind             sockets, rings, umem: a port          nothing arrives yet: the XSKMAP is empty
connect          the sockets into the XSKMAP           from now on matching packets come to user space
"""

from __future__ import annotations

import errno
import resource
import struct
from dataclasses import replace

from offramp import _native
from offramp.bpf import Map, MapFlag, MapType, clock
from offramp.emit.program import MapSlot
from offramp.errors import InterfaceBusy, InterfaceDown, KernelError, NotSupported, OptionError, PrivilegeError
from offramp.immutable import immutable
from offramp.planner import COPIED, Plan
from offramp.ports.port import Port
from offramp.ramp.holdings import Holdings, Undoing
from offramp.syscalls.failure import trying
from offramp.syscalls.procfs import content
from offramp.text import printable

__all__ = ["Sockets", "check_memory", "socket_maps", "told_by_the_kernel"]


def check_memory(plan: Plan) -> None:
    """Packet memory is pinned and cannot be swapped out, so it may take half of what is left. Errors: OptionError."""
    half = _available() // 2
    if plan.umem_bytes > half:
        wanted, limit = (f"{size >> 20:,} MiB" for size in (plan.umem_bytes, half))
        raise OptionError(
            f"frames={plan.frames} on {len(plan.queues)} receive queues",
            reason=f"{wanted} of packet memory is more than half of what is available, {limit}",
            hint="fewer frames, or fewer queues",
        )


def socket_maps(plan: Plan, holdings: Holdings) -> dict[MapSlot, Map]:
    """The maps that the program and the sockets share."""
    sockets = holdings.add(Map.create(MapType.XSKMAP, 4, 4, plan.all_queues, name="offramp_socks"))
    size = 8 * plan.all_queues
    beats = holdings.add(Map.create(MapType.ARRAY, 4, size, 1, MapFlag.MMAPABLE, name="offramp_beats"))
    return {MapSlot.SOCKETS: sockets, MapSlot.HEARTBEATS: beats}


@immutable
class Sockets:
    """The sockets, bound as the plan says."""

    port: Port
    queues: tuple[int, ...]

    @classmethod
    def bind(cls, plan: Plan, heartbeats: Map, holdings: Holdings) -> Sockets:
        """Errors: InterfaceBusy, InterfaceDown, NotSupported, PrivilegeError, KernelError."""
        port = Port(_bound(plan, heartbeats))
        holdings.add(Undoing(port.close, port._abandon))
        sockets = cls(port, plan.queues)
        if plan.copying == "zero-copy" and not sockets.zero_copy:
            raise NotSupported(
                f"zero-copy on {plan.interface}", reason="the kernel bound the sockets in copy mode", hint=COPIED
            )
        return sockets

    @property
    def zero_copy(self) -> bool:
        return all(queue.zero_copy for queue in self.port.queues)

    def connect(self, sockets: Map) -> None:
        """Also closes the map to everybody else: no other process takes a socket out, or puts its own in."""
        for queue, descriptor in zip(self.queues, self.port._native.pollables(), strict=True):
            sockets.update(struct.pack("I", queue), struct.pack("I", descriptor))
        sockets.freeze()


def told_by_the_kernel(plan: Plan, *, zero_copy: bool) -> Plan:
    """The plan with the mode that copying "auto" has led to."""
    if plan.copying != "auto":
        return plan
    if zero_copy:
        return replace(plan, copying="zero-copy")
    warning = "its driver does not do zero-copy on all of these queues, so the kernel copies packets"
    return replace(plan, copying="copy", warnings=(*plan.warnings, warning))


def _available() -> int:
    """How many bytes of memory this machine has left."""
    with trying("how much memory is left"):
        memory = content("/proc/meminfo")
    return int(memory.split("MemAvailable:")[1].split()[0]) << 10


def _bound(plan: Plan, heartbeats: Map) -> _native.Port:
    try:
        return _native.Port.af_xdp(
            printable(plan.interface),  # for errors: the number counts
            plan.ifindex,
            plan.queues,
            frames=plan.frames,
            frame_size=plan.frame_size,
            ring=plan.ring,
            copying=plan.copying or "copy",
            heartbeats=heartbeats.fd if plan.stall is not None else None,
            stall=plan.stall,
            ahead=clock.machine_is_ahead() if plan.stall is not None else 0,
            sending=plan.send_queues,
        )
    except KernelError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise PrivilegeError(error.what, error.errno) from error
        raise _explain(error, plan) from error


def _explain(error: KernelError, plan: Plan) -> Exception:
    """The same failure, in terms of what the user asked for."""
    what, code = error.what, error.errno or 0
    match code:
        case errno.ENOBUFS:
            limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
            wanted = f"{plan.umem_bytes >> 10} KiB with RLIMIT_MEMLOCK at {limit >> 10} KiB"
            return PrivilegeError(what, code, hint=f"{wanted}: fewer frames, a higher `ulimit -l`, or CAP_IPC_LOCK")
        case errno.EBUSY:
            return InterfaceBusy(what, reason="another AF_XDP socket is bound to the queue")
        case errno.EOPNOTSUPP if plan.copying == "zero-copy":
            return NotSupported(what, reason="the driver has no zero-copy", hint=COPIED)
        case errno.EINVAL if plan.copying == "zero-copy":
            return NotSupported(
                what,
                reason="the driver refuses zero-copy here [EINVAL]",
                hint=f"{COPIED}; virtio-net has zero-copy only with QEMU's iommu_platform=on",
            )
        case errno.ENETDOWN:
            return InterfaceDown(what, hint=f"ip link set {plan.interface} up")
        case errno.ENOMEM:
            return KernelError(what, code, hint="fewer frames")
    return KernelError(what, code)
