# SPDX-License-Identifier: Apache-2.0
"""bpf_link: an XDP program attached to an interface for exactly as long as a descriptor lives.

    XdpLink.attach(...)  ──close(), exit, kill -9──>  the interface is as before

That is the guaranteed return: nobody has to undo anything. Also, `ip link set dev X xdp off` cannot remove it.
Native mode ("native", XDP_FLAGS_DRV_MODE) runs in the driver; generic mode ("generic", XDP_FLAGS_SKB_MODE) runs later,
on socket buffers, with every driver. What the kernel answers, and what it means (net/core/dev.c, dev_xdp_attach):

| errno            | meaning                                                               | raised              |
|------------------|-----------------------------------------------------------------------|---------------------|
| EBUSY, EEXIST    | another program is attached, in this mode or the other                | InterfaceBusy       |
| EOPNOTSUPP       | the driver has no native XDP: generic mode would work                 | KernelError, errno  |
| ERANGE           | the MTU (or the peer's, on veth) is too large for one buffer          | KernelError, errno  |
| EINVAL           | other drivers: the same; or a device-bound program in generic mode      | KernelError, errno  |
| ENOSPC, ENOMEM   | the channels (queues) do not fit, veth and virtio_net                 | KernelError, errno  |

Source: https://docs.kernel.org/bpf/, include/uapi/linux/if_link.h. Minimum kernel: 5.9.
"""

from __future__ import annotations

import errno
import struct
from functools import cached_property
from typing import Literal, Self

from offramp.bpf import owner
from offramp.bpf.descriptor import Descriptor
from offramp.bpf.programs import Program
from offramp.errors import InterfaceBusy, InterfaceGone, KernelError, PrivilegeError
from offramp.facts.link import NOT_REPLACED
from offramp.immutable import immutable
from offramp.syscalls.bpf import Command, bpf, info
from offramp.syscalls.ioctl import name_of
from offramp.syscalls.kept import Kept

__all__ = ["LinkInfo", "XdpLink", "XdpMode"]

XdpMode = Literal["native", "generic"]

_ATTACH_TYPE_XDP = 37
_REPLACE = 1 << 2  # BPF_F_REPLACE: only if it is the program named that runs
_FLAGS: dict[XdpMode, int] = {"generic": 1 << 1, "native": 1 << 2}

_HINTS = {
    errno.EOPNOTSUPP: "the driver has no native XDP; generic mode works with every driver",
    errno.ERANGE: "the MTU, or on veth the peer's, is too large for XDP",
    errno.EINVAL: "the driver does not accept XDP in this configuration; often the MTU is too large",
    errno.ENOSPC: "fewer receive queues than the peer has transmit queues",
    errno.ENOMEM: "not enough memory, or not enough queues left for XDP to transmit",
}


@immutable
class LinkInfo:
    """What the kernel says about a link: struct bpf_link_info."""

    id: int
    program_id: int
    ifindex: int  # 0 once the interface is removed


class XdpLink(Descriptor):
    """An attachment, owned by its descriptor; closed until it is created."""

    def __init__(self, fd: int | Kept, mode: XdpMode, ifindex: int) -> None:
        super().__init__(fd)
        self.mode: XdpMode = mode
        self.ifindex = ifindex

    @classmethod
    def attach(cls, program: Program, ifindex: int, mode: XdpMode = "native") -> Self:
        """A link that is attached. Errors: as `create`."""
        link = cls(Kept(), mode, ifindex)
        link.create(program)
        return link

    def create(self, program: Program) -> None:
        """Attach `program` to the interface, of this thread's network namespace. Never replaces another program.

        Some drivers reset their link for this: wait for the carrier. Errors: see the table above; PrivilegeError;
        InterfaceGone if there is no such interface.
        """
        name = name_of(self.ifindex)
        if name is None:
            raise InterfaceGone(f"interface {self.ifindex}", reason="not in this network namespace")
        attributes = struct.pack("IIII", program.fd, self.ifindex, _ATTACH_TYPE_XDP, _FLAGS[self.mode])
        what = f"attaching XDP to {name} in {self.mode} mode"
        try:
            bpf(Command.LINK_CREATE, attributes, what, self._kept)
        except PrivilegeError:
            raise
        except KernelError as error:
            code = error.errno or 0
            if code in (errno.EBUSY, errno.EEXIST) and (present := owner.describe(self.ifindex)):
                raise InterfaceBusy(f"{name} already runs {present}", hint=NOT_REPLACED) from error
            raise KernelError(what, code, hint=_HINTS.get(code, "")) from error

    def update(self, program: Program, instead_of: Program) -> None:
        """Run another program from now on, without a gap. Packets that are in the old one may still be there for a
        moment: see GracePeriod.

        Its kind has to be that of the old one: bound to the device or not. Minimum kernel: 5.9.
        Errors: PrivilegeError, also if it is not the old one that runs; InterfaceGone if the interface was removed,
        also if another has its number now, or if somebody has detached the link (ENOLINK); KernelError (EINVAL).
        """
        attributes = struct.pack("IIII", self.fd, program.fd, _REPLACE, instead_of.fd)
        what = f"another program for the {self._describe()}"
        try:
            bpf(Command.LINK_UPDATE, attributes, what)
        except KernelError as error:
            if error.errno != errno.ENOLINK:
                raise
            reason = "its interface was removed, or somebody has detached it"
            raise InterfaceGone(what, reason=reason, hint="close what is open there, and open it again") from error

    @cached_property
    def id(self) -> int:
        """The link's number in the whole system, as bpftool shows it."""
        return self.info().id

    def info(self) -> LinkInfo:
        """What the kernel knows about the link now. `ifindex` 0 means that the interface was removed."""
        raw = info(self.fd, 24, "reading about an XDP link")
        _, identity, program, ifindex = struct.unpack_from("III4xI", raw)
        return LinkInfo(identity, program, ifindex)

    def _describe(self) -> str:
        return f"XDP link on interface {self.ifindex} ({self.mode})"
