# SPDX-License-Identifier: Apache-2.0
"""Which kernel threads run an interface's NAPI, when it is threaded.

By default a veth's receive work runs in softirq on the *sender's* CPU. With /sys/class/net/X/threaded = 1 each receive
queue gets a kernel thread, `napi/<interface>-<id>`, which can be pinned and whose CPU time can be read. Names are
ambiguous (every namespace may have an eth0), so we ask the kernel: generic netlink family "netdev", NAPI_GET, gives the
thread's pid. Kernels before 6.7 have no such family (ENOENT); there the thread is found by its name.

Sources: Documentation/networking/napi.rst, Documentation/netlink/specs/netdev.yaml, linux/netdev.h.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import Any

from offramp.syscalls.procfs import processes

__all__ = ["napi_threads"]

NETDEV_CMD_NAPI_GET = 11


def napi_threads(ifindex: int, name: str) -> list[int]:
    """Pids of the NAPI threads of an interface of the calling thread's namespace, in the order of their NAPI ids.

    Empty if NAPI is not threaded, or not running (a veth runs it only with XDP attached or GRO on).
    """
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        napis = _ask(ifindex)
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise
        return _by_name(name)
    pids = {napi.get_attr("NETDEV_A_NAPI_ID"): napi.get_attr("NETDEV_A_NAPI_PID") for napi in napis}
    return [pids[number] for number in sorted(pids) if pids[number]]


def _ask(ifindex: int) -> list[Any]:
    from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, genlmsg
    from pyroute2.netlink.generic import GenericNetlinkSocket

    class Napi(genlmsg):  # type: ignore[misc]
        nla_map = tuple((f"NETDEV_A_NAPI_{name}", "uint32") for name in ("UNSPEC", "IFINDEX", "ID", "IRQ", "PID"))

    with GenericNetlinkSocket() as socket:
        socket.bind("netdev", Napi)
        request = Napi()
        request["cmd"] = NETDEV_CMD_NAPI_GET
        request["version"] = 1
        request["attrs"] = [("NETDEV_A_NAPI_IFINDEX", ifindex)]
        return list(socket.nlm_request(request, msg_type=socket.prid, msg_flags=NLM_F_REQUEST | NLM_F_DUMP))


def _by_name(name: str) -> list[int]:
    """Finds the threads by name. It may also find those of another namespace's interface of the same name."""
    found = []
    for process in processes():
        with suppress(OSError):  # that process has ended
            prefix, _, number = process.name.rpartition("-")
            if prefix == f"napi/{name}" and number.isdecimal():
                found.append((int(number), process.pid))
    return [pid for _, pid in sorted(found)]
