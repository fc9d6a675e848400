# SPDX-License-Identifier: Apache-2.0
"""One guest: boots, does what it is told to, and is gone.

    host                                     guest
    /            ──── 9p, read only ────►    /, below an overlay in memory: it can change nothing of the host
    share/run    ──── 9p, at the same path ► run by boot.sh, with share/bin in its PATH
    share/*      ◄───────────────────────    output, status, results
    share/console ◄── serial port ───────    what the kernel says

QEMU emulates the processor (TCG): no /dev/kvm is needed. It runs in a network namespace of its own, where its taps are,
and dies with this process.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.nic.machines import TAPS, Machine, arguments
from lab.nic.stock import Built, Stock
from offramp.testing import Host, Lab

__all__ = ["Ended", "boot"]

POLL = 0.5  # seconds
# What an emulated processor does slowly, and grace periods, of which every namespace and program needs some.
FASTER = "mitigations=off rcupdate.rcu_expedited=1 audit=0 apparmor=0"
BOOT = Path(__file__).with_name("boot.sh")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a guest ended. `status` is that of `run`; None: the guest died before `run` did."""

    status: int | None
    seconds: float
    why: str = ""  # it did not end by itself


def boot(
    stock: Stock,
    built: Built,
    machine: Machine,
    share: Path,
    command: list[str],
    *,
    timeout: float,
    watch: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a command in a new guest, from the root of the repository; `watch` is called while it runs.

    `share` is a directory for the two of them. Needs root: the namespace, and all files of the host.
    """
    _write(share / "run", f"cd {shlex.quote(str(BOOT.parents[2]))}\nexec {shlex.join(command)}\n")
    (share / "bin").mkdir()
    for tool, argv in _tools(stock, built).items():
        _write(share / "bin" / tool, f'exec {shlex.join(argv)} "$@"\n')
    with Lab() as lab:
        host = lab.host("qemu")
        if machine.wire == "taps":
            _taps(host)
        start = time.monotonic()
        with open(share / "qemu", "wb") as said:
            process = host.popen(
                _argv(stock, built, machine, share), stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        while process.poll() is None and time.monotonic() - start < timeout:
            watch()
            time.sleep(POLL)
        ended = process.poll() is not None
        host.kill(process)
    watch()
    seconds = time.monotonic() - start
    status = share / "status"
    if not ended:
        return Ended(None, seconds, f"it had not ended after {timeout:.0f} s")
    if not status.exists():
        return Ended(None, seconds, f"it died: {(share / 'qemu').read_text().strip() or 'see its last words'}")
    return Ended(int(status.read_text()), seconds)


def _tools(stock: Stock, built: Built) -> dict[str, list[str]]:
    """What a guest needs, and this machine may not have."""
    base = built.modules.parents[2]  # of lib/modules/RELEASE
    return {
        "modprobe": [*stock.tool("usr/bin/kmod", "modprobe"), "-d", str(base)],
        "ping": stock.tool("usr/bin/ping"),
    }


def _argv(stock: Stock, built: Built, machine: Machine, share: Path) -> list[str]:
    words = f"console=ttyS0 panic=-1 quiet loglevel=4 {FASTER} lab.boot={BOOT} lab.share={share}"
    words += " intel_iommu=on iommu=pt" if machine.iommu else ""
    return [
        *stock.tool("usr/bin/qemu-system-x86_64"),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-L", str(stock.tools / "usr/share/qemu"), "-L", str(stock.tools / "usr/share/seabios")),
        *arguments(machine),
        *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
        *("-fsdev", f"local,id=share,path={share},security_model=none"),
        *("-device", "virtio-9p-pci,fsdev=share,mount_tag=share"),
        *("-chardev", f"file,id=console,path={share / 'console'}", "-serial", "chardev:console"),
        *("-kernel", str(built.image), "-initrd", str(built.initrd), "-append", words),
    ]


def _taps(host: Host) -> None:
    """Two multiqueue taps on a bridge that says nothing of its own."""
    host.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    host.run(["ip", "link", "add", "wire", "up", "type", "bridge", "stp_state", "0", "mcast_snooping", "0"])
    for tap in TAPS:
        host.run(["ip", "tuntap", "add", "dev", tap, "mode", "tap", "multi_queue", "vnet_hdr"])
        host.run(["ip", "link", "set", tap, "master", "wire", "up"])


def _write(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
