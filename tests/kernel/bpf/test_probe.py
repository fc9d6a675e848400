# SPDX-License-Identifier: Apache-2.0
"""Missing capabilities are named; what this kernel can do is found by trying, and only certainties are kept."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from offramp.bpf.probe import KernelFeature, probe, probe_all
from offramp.syscalls import privileges
from tests.rigs.bytecode import PASS, returns

pytestmark = pytest.mark.skipif(bool(privileges.missing()), reason=privileges.hint())

# r2 = data, r3 = data_end, r3 -= r2
POINTER_DIFFERENCE = bytes.fromhex("6112000000000000 6113040000000000 1f23000000000000") + returns(PASS)


def without(capabilities: str, program: str) -> str:
    """What `program` prints when it runs without these capabilities (setpriv's words)."""
    confined = ["setpriv", "--bounding-set", capabilities, "--inh-caps", "-all", sys.executable, "-c", program]
    return subprocess.run(confined, check=True, capture_output=True, text=True, timeout=30).stdout


TRY_TO_LOAD = f"""
from offramp.bpf import Program
from offramp.emit.program import XdpProgram as Code
from offramp.errors import PrivilegeError
try:
    Program.load(Code({POINTER_DIFFERENCE!r}), name="offramp_test", maps={{}}).close()
    print("loaded")
except PrivilegeError as error:
    print(error)
"""


def test_all_privileges() -> None:
    assert privileges.missing() == ()
    assert without("+all", TRY_TO_LOAD) == "loaded\n"


def test_no_privileges() -> None:
    said = without("-all", TRY_TO_LOAD)
    assert "EPERM" in said
    assert "missing CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON" in said


def test_only_perfmon_is_missing() -> None:
    """The verifier, not the system call, refuses a difference of pointers: the cause is still a capability."""
    said = without("-perfmon,-sys_admin", TRY_TO_LOAD)
    assert "missing CAP_PERFMON;" in said


def test_a_map_without_privileges() -> None:
    program = "from offramp.bpf import Map\ntry: Map.create(17, 4, 4, 1)\nexcept PermissionError as error: print(error)"
    assert "missing CAP_NET_ADMIN;" in without("-net_admin,-sys_admin", program)


def test_this_kernel_has_what_linux_6_1_has() -> None:
    found = probe_all()
    assert found.pop(KernelFeature.RX_VLAN_TAG) is not None  # Linux 6.8
    assert found == dict.fromkeys(found, True)


def test_what_cannot_be_told_is_not_remembered() -> None:
    program = (
        "from offramp.bpf.probe import KernelFeature, probe, _answers\nprint(probe(KernelFeature.XDP), len(_answers))"
    )
    assert without("-all", program) == "None 0\n"


def test_a_probe_leaves_nothing() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for feature in KernelFeature:
        probe(feature)
    assert len(os.listdir("/proc/self/fd")) == before
