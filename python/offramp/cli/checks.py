# SPDX-License-Identifier: Apache-2.0
"""What `doctor` finds out: facts about this machine and its interfaces. They are read or tried; nothing is changed.

    ok        works
    warn      works, with a cost or a limit that the user should know
    missing   `offramp.open` would fail
    unknown   could not be found out, and why

Only attaching shows for certain whether a driver runs XDP natively, and up to which MTU; this says what the driver
declares. Sources: bpf/probe.py, syscalls/privileges.py, nic/, and the planner for the conclusion.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from offramp.bpf import btf
from offramp.bpf.probe import KernelFeature, jit, probe_all
from offramp.errors import OfframpError
from offramp.facts.link import NOT_REPLACED
from offramp.facts.offloads import GRO, LRO, VLAN_STRIPPING, Offload
from offramp.immutable import immutable
from offramp.lower.expression import Const, Lowered
from offramp.nic import find
from offramp.nic.live import open_nic
from offramp.options import Options
from offramp.planner import can_switch, check_type, lacks_for_native, largest_mtu
from offramp.protection import Protection
from offramp.ramp.flap import measure
from offramp.ramp.planned import plan_for
from offramp.syscalls.privileges import FOR_BPF, Capability, held, hint, missing
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.facts.link import Link

__all__ = ["Check", "Status", "flap_checks", "interface_checks", "machine_checks"]

Status = Literal["ok", "warn", "missing", "unknown"]

_NEEDED = (*FOR_BPF, Capability.CAP_NET_RAW)
_OPTIONAL = {
    KernelFeature.FRAGS: "not needed: offramp's frames are single buffers",
    KernelFeature.LIVE_FRAMES: "only offramp.testing's floods need it",
    KernelFeature.RX_VLAN_TAG: "if a NIC strips VLAN tags, stripping has to be switched off",
}
_SINCE = {  # what brings those that are needed
    KernelFeature.XDP: "Linux 4.8 with CONFIG_BPF_SYSCALL=y",
    KernelFeature.REDIRECT_MAP: "Linux 4.18 with CONFIG_XDP_SOCKETS=y",
    KernelFeature.XSKMAP: "Linux 4.18 with CONFIG_XDP_SOCKETS=y",
    KernelFeature.PERCPU_ARRAY: "Linux 4.6",
    KernelFeature.MMAPABLE: "Linux 5.5",
    KernelFeature.KTIME: "Linux 5.11",
    KernelFeature.XDP_LINK: "Linux 5.9",
}
_FROM_BTF = (KernelFeature.XDP_LINK, KernelFeature.RX_VLAN_TAG)


@immutable
class Check:
    """One line of `doctor`."""

    name: str
    status: Status
    text: str
    remedy: str = ""


def machine_checks() -> list[Check]:
    """The checks that are the same for all interfaces. Takes some 50 ms."""
    return [_privileges(), *_features(), _btf(), _jit(), _memlock()]


def interface_checks(link: Link) -> list[Check]:
    """What `link` is and can do. The last check is the planner's: whether `offramp.open` would work on it."""
    facts = (_state, _xdp, _zero_copy, _queues, _mtu, _gro, _lro, _vlan, _program)
    return [*(fact(link) for fact in facts), _protected(), *_plan(link)]


def _privileges() -> Check:
    lacking = missing(_NEEDED)
    if lacking:
        names = ", ".join(capability.name for capability in lacking)
        return Check("privileges", "missing", f"this process lacks {names}", "run as root or grant them")
    return Check("privileges", "ok", ", ".join(capability.name for capability in _NEEDED))


def _features() -> Iterator[Check]:
    for feature, answer in probe_all().items():
        if answer:
            yield Check(feature.value, "ok", "tried" if feature not in _FROM_BTF else "found in BTF")
        elif answer is None:
            yield _not_tried(feature)
        elif feature in _OPTIONAL:
            yield Check(feature.value, "warn", "not in this kernel", _OPTIONAL[feature])
        else:
            yield Check(feature.value, "missing", "not in this kernel", _SINCE[feature])


def _not_tried(feature: KernelFeature) -> Check:
    if feature in _FROM_BTF:
        return Check(feature.value, "unknown", "without BTF")
    if missing():
        return Check(feature.value, "unknown", "cannot be tried without privileges")
    in_the_way = feature not in _OPTIONAL
    return Check(feature.value, "missing" if in_the_way else "unknown", "the kernel did not allow a try", hint())


def _btf() -> Check:
    if btf.VMLINUX.exists():
        return Check("kernel type information (BTF)", "ok", "")
    return Check("kernel type information (BTF)", "warn", f"no {btf.VMLINUX}", "CONFIG_DEBUG_INFO_BTF=y")


def _jit() -> Check:
    name = "BPF JIT compiler"
    compiles = jit()
    if compiles is None:
        return Check(name, "unknown", "cannot be tried without privileges")
    if compiles:
        return Check(name, "ok", "tried")
    return Check(name, "warn", "off: programs are interpreted, which is slow", "sysctl net.core.bpf_jit_enable=1")


def _memlock() -> Check:
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    text = "no limit" if limit == resource.RLIM_INFINITY else f"{limit >> 10:,} KiB for this user"
    if Capability.CAP_IPC_LOCK in held():
        text += "; does not apply with CAP_IPC_LOCK"
    return Check("RLIMIT_MEMLOCK", "ok", text)


def _state(link: Link) -> Check:
    what = link.driver or link.kind or "no driver"
    try:
        check_type(link)
    except OfframpError as error:
        return Check("link", "missing", f"{error.what}: {error.reason}", error.hint)
    if not link.up:
        return Check("link", "missing", f"{what}, down", f"ip link set {link.name} up")
    if not link.carrier:
        return Check("link", "warn", f"{what}, up, no carrier: no packets arrive")
    return Check("link", "ok", f"{what}, up")


def _xdp(link: Link) -> Check:
    name = "native XDP"
    if link.xdp_features is None:
        return Check(name, "unknown", "this kernel does not list what drivers can do; attaching will show it")
    lacking = lacks_for_native(link)
    if not lacking:
        return Check(name, "ok", "declared by the driver")
    text = f"the driver declares no {' and no '.join(lacking)}: it will be generic mode, about as fast as iptables"
    remedy = "a veth needs as many receive queues as its peer has transmit queues" if link.driver == "veth" else ""
    return Check(name, "warn", text, remedy)


def _zero_copy(link: Link) -> Check:
    if link.xdp_features is None:
        return Check("zero-copy", "unknown", "this kernel does not list what drivers can do")
    if "xsk-zerocopy" in link.xdp_features:
        return Check("zero-copy", "ok", "declared by the driver; ask for it with --copying zero-copy")
    return Check("zero-copy", "warn", "not declared by the driver: packets are copied, as by default")


def _queues(link: Link) -> Check:
    rings = f"; rings of {link.rings.rx} of {link.rings.rx_max} entries" if link.rings else "; ring sizes are not known"
    return Check("receive queues", "ok", f"{link.rx_queues}{rings}")


def _mtu(link: Link) -> Check:
    largest = largest_mtu(link, "generic" if lacks_for_native(link) else "native")
    text = f"{link.mtu}; at most {largest} for offramp; the driver may allow less"
    if link.mtu > largest:
        return Check("MTU", "missing", text, f"ip link set {link.name} mtu {largest}, or less")
    return Check("MTU", "ok", text)


def _gro(link: Link) -> Check:
    if link.gro is None:
        return Check(GRO.words, "unknown", "the driver does not tell")
    if not link.gro:
        return Check(GRO.words, "ok", "off")
    if not lacks_for_native(link):
        return Check(GRO.words, "ok", "on: the kernel merges packets, but after native XDP has seen them")
    return _hides(GRO, "on: generic XDP would see merged packets", link)


def _lro(link: Link) -> Check:
    if link.lro is None:
        return Check(LRO.words, "unknown", "the driver does not tell")
    if not link.lro:
        return Check(LRO.words, "ok", "off")
    return _hides(LRO, "on: the NIC merges packets before XDP sees them", link)


def _vlan(link: Link) -> Check:
    name = VLAN_STRIPPING.words
    if link.rx_vlan_offload is None:
        return Check(name, "unknown", "the driver does not tell")
    if not link.rx_vlan_offload:
        return Check(name, "ok", "off: tags stay in the frame")
    if not lacks_for_native(link) and "vlan-tag" in (link.rx_metadata or ()):
        return Check(name, "ok", "on, and the driver tells the program about tags")
    return _hides(VLAN_STRIPPING, "on: tagged packets would look untagged to the program", link)


def _hides(offload: Offload, text: str, link: Link) -> Check:
    """The frames on the wire."""
    if can_switch(open_nic(link.name).capabilities(), offload.feature):
        return Check(offload.words, "ok", f"{text}; switched off while a ramp is open, and on again")
    return Check(offload.words, "missing", f"{text}; its driver does not allow switching it off")


def flap_checks(interface: str) -> list[Check]:
    """Checks that try things, which may interrupt traffic. Errors: as `measure`."""
    flap = measure(interface)
    return [_flap(f"{flap.mode} XDP on", flap.attach), _flap(f"{flap.mode} XDP off", flap.detach)]


def _flap(name: str, seconds: float) -> Check:
    if not seconds:
        return Check(name, "ok", "the carrier stays")
    return Check(name, "warn", f"the carrier is gone for {seconds:.2f} s")


def _program(link: Link) -> Check:
    xdp = link.xdp
    if xdp is None:
        return Check("XDP program", "ok", "none attached")
    unseen = "" if os.geteuid() == 0 or xdp.pid is not None else "; only root sees other users' processes"
    return Check("XDP program", "missing", f"{xdp}{unseen}", NOT_REPLACED)


def _protected() -> Check:
    text = Protection.of(find(), Lowered(Const(True))).words
    if os.geteuid() != 0:
        return Check("protected", "warn", text, "only root sees all SSH on other ports than 22")
    return Check("protected", "ok", text)


def _plan(link: Link) -> Iterator[Check]:
    try:
        plan = plan_for(link.name, "", Verdict.CLAIM, Options())
    except OfframpError as error:
        what = f"{error.what}: {error.reason}" if error.reason else error.what
        yield Check("plan", "missing", what, error.hint)
        return
    size = plan.umem_bytes
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    memory = f"{size >> 20:,} MiB: {plan.frames} frames of {plan.frame_size} bytes for each receive queue"
    if Capability.CAP_IPC_LOCK not in held() and limit != resource.RLIM_INFINITY and size > limit:
        remedy = f"ulimit -l {size >> 10}, CAP_IPC_LOCK, or fewer --frames"
        yield Check("packet memory", "missing", f"{memory}; this is more than RLIMIT_MEMLOCK", remedy)
    else:
        yield Check("packet memory", "ok", memory)
    yield Check("plan", "warn" if plan.warnings else "ok", f"{plan.mode}, {plan.copying}", "; ".join(plan.warnings))
