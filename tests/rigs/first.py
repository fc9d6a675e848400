# SPDX-License-Identifier: Apache-2.0
"""The first process of a PID namespace, whose child is the first of another one: both are process 1.

    unshare --pid --fork python first.py

It opens eth0 of its network namespace and makes sets. The child tries to use all of it, and is told each time that it
is not its own. Then the parent goes on. It exits with 0 if all was so.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

import offramp
from offramp import HashSet, PrefixSet
from offramp.errors import Closed

_CLONE_NEWPID = 0x20000000


def main() -> int:
    assert os.getpid() == 1
    hosts, networks = HashSet(["10.0.0.1"]), PrefixSet(["10.0.0.0/8"])
    port, end = offramp.Port.null([bytes(60)]), offramp.open_port("loop:")
    with offramp.open("eth0", offramp.Match("src host in @hosts and udp", hosts=hosts)) as ramp:
        attempts: list[Callable[[], object]] = [
            lambda: hosts.add("10.0.0.2"),
            hosts.clear,
            lambda: networks.discard("10.0.0.0/8"),
            lambda: networks.replace([]),
            lambda: ramp.rx(0),
            lambda: ramp.send(bytes(60)),
            lambda: ramp.queues[0].rx(0),
            lambda: port.rx(0),
            lambda: end.send(bytes(60)),
        ]
        assert ctypes.CDLL(None).unshare(_CLONE_NEWPID) == 0
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert os.getpid() == 1
                assert [refused(attempt) for attempt in attempts] == [True] * len(attempts)
                assert list(hosts) == ["10.0.0.1"]
                ramp.close()
                port.close()
                del ramp, port, end
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not ramp.closed
        hosts.add("10.0.0.2")
        networks.replace(["192.0.2.0/24"])
        assert (len(hosts), list(networks)) == (2, ["192.0.2.0/24"])
        ramp.rx(0)
        assert port.rx(0) is not None
        end.send(bytes(60))
    return 0


def refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except Closed:
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
