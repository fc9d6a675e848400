# SPDX-License-Identifier: Apache-2.0
"""What each capability allows: a missing one is named, and these four suffice."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import pytest

from offramp.testing import Wire
from tests.rigs.leftovers import has_xdp, orphans
from tests.rigs.waiting import eventually

NEEDED = ("bpf", "net_admin", "perfmon", "net_raw")  # as setpriv names them

TRY = """
import sys, offramp
options = {name: int(value) for name, value in (option.split("=") for option in sys.argv[2:])}
try:
    with getattr(offramp, sys.argv[1])("eth0", "udp dst port 4321", **options) as ramp:
        print("works in", ramp.mode)
except offramp.OfframpError as error:
    print(type(error).__name__, error)
"""


def attempt(wire: Wire, capabilities: Iterable[str], *arguments: str, memlock: int | None = None) -> str:
    """What a process with no more than these capabilities says to `open` or `attach` on the wire's end b.

    The bounding set bounds what root gets at exec, too.  memlock: RLIMIT_MEMLOCK, soft and hard, in bytes.
    """
    bounds = ",".join(["-all", *(f"+{capability}" for capability in capabilities)])
    limit = ["prlimit", f"--memlock={memlock}:{memlock}"] if memlock is not None else []
    argv = ["setpriv", "--bounding-set", bounds, "--inh-caps", "-all", *limit, sys.executable, "-c", TRY, *arguments]
    said = wire.b.host.run(argv).stdout.strip()
    assert not has_xdp(wire.b)
    assert eventually(lambda: not orphans())
    return said


@pytest.mark.parametrize("verb", ["open", "attach"])
def test_those_four_suffice(wire: Wire, verb: str) -> None:
    assert attempt(wire, NEEDED, verb) == "works in native"


def test_attaching_needs_no_sockets(wire: Wire) -> None:
    assert attempt(wire, set(NEEDED) - {"net_raw"}, "attach") == "works in native"


@pytest.mark.parametrize("verb", ["open", "attach"])
def test_none_at_all(wire: Wire, verb: str) -> None:
    said = attempt(wire, [], verb)
    wanted = {"open": "taking packets off eth0", "attach": "deciding about packets on eth0"}[verb]
    assert said.startswith(f"PrivilegeError {wanted}: Operation not permitted [EPERM] (missing CAP_")
    assert "missing CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON" in said


@pytest.mark.parametrize("lacking", NEEDED)
def test_each_one_that_is_missing_is_named(wire: Wire, lacking: str) -> None:
    said = attempt(wire, set(NEEDED) - {lacking}, "open")
    assert said.startswith("PrivilegeError")
    assert f"(missing CAP_{lacking.upper()}; run as root or grant " in said


def test_planning_needs_none(wire: Wire) -> None:
    command = [sys.executable, "-m", "offramp", "plan", "eth0", "udp", "--json"]
    argv = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", *command]
    assert json.loads(wire.b.host.run(argv).stdout)["mode"] == "native"


# -- locked memory -----------------------------------------------------------------------------------------------------


def test_memory_beyond_the_limit(wire: Wire) -> None:
    said = attempt(wire, NEEDED, "open", memlock=1 << 20)
    assert said.startswith("PrivilegeError eth0: registering a umem of 4096 frames of 2048 bytes")
    assert "8192 KiB with RLIMIT_MEMLOCK at 1024 KiB: fewer frames, a higher `ulimit -l`, or CAP_IPC_LOCK" in said


def test_memory_within_the_limit(wire: Wire) -> None:
    assert attempt(wire, NEEDED, "open", "frames=512", "ring=256", memlock=1 << 20) == "works in native"


def test_the_limit_does_not_bind_cap_ipc_lock(wire: Wire) -> None:
    assert attempt(wire, [*NEEDED, "ipc_lock"], "open", memlock=0) == "works in native"


def test_a_limit_of_nothing_does_not_matter_without_sockets(wire: Wire) -> None:
    """Maps and programs are not counted against it (Linux 5.11)."""
    assert attempt(wire, NEEDED, "attach", memlock=0) == "works in native"
