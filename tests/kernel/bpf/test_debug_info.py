# SPDX-License-Identifier: Apache-2.0
"""What bpftool sees of our programs. tests/nic/test_debug_info.py looks in by fentry, as bpftrace and xdpdump do."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

import offramp
from offramp.bpf import btf
from offramp.bpf.debug_info import DebugInfo, types
from offramp.errors import KernelError
from offramp.ramp.interface import _in_use
from offramp.syscalls import privileges
from offramp.testing import Wire
from tests.rigs.bytecode import load
from tests.rigs.traffic import MATCH

pytestmark = pytest.mark.skipif(bool(privileges.missing()), reason=privileges.hint())


def bpftool(*words: object) -> str:
    tool = shutil.which("bpftool", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert tool is not None, "bpftool is not installed"
    return subprocess.run([tool, *map(str, words)], check=True, capture_output=True, text=True, timeout=30).stdout


def running() -> int:
    """The number of the program on the one interface in use."""
    (interface,) = _in_use
    return interface.program.id


def test_bpftool_shows_each_match_and_its_verdict(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH), offramp.attach("eth0", "icmp", offramp.PASS):
        text = bpftool("prog", "dump", "xlated", "id", running())
        assert "int offramp_shared(struct xdp_md * ctx):" in text
        assert f"; {MATCH} -> DROP; icmp -> PASS" in text
        (about,) = [each for each in json.loads(bpftool("-j", "prog", "show")) if each["id"] == running()]
        assert "btf_id" in about


def test_bpftool_reads_the_types_as_they_are_written() -> None:
    with load() as program:
        (about,) = [each for each in json.loads(bpftool("-j", "prog", "show")) if each["id"] == program.id]
        found = {
            each["name"]: each for each in json.loads(bpftool("-j", "btf", "dump", "id", about["btf_id"]))["types"]
        }
    assert (found["offramp_test"]["kind"], found["offramp_test"]["linkage"]) == ("FUNC", "global")
    members = [(member["name"], member["bits_offset"]) for member in found["xdp_md"]["members"]]
    kernel = json.loads(bpftool("-j", "btf", "dump", "file", btf.VMLINUX))["types"]
    (own,) = [each for each in kernel if each["name"] == "xdp_md" and each["kind"] == "STRUCT"]
    assert members == [(member["name"], member["bits_offset"]) for member in own["members"]]


@pytest.mark.parametrize(
    "source",
    ["", "\0", "a\0b", "é 漢 \udcff", "x" * 100_000, "line\nline", "%s"],
    ids=["empty", "NUL", "with NUL", "not ASCII", "long", "lines", "format"],
)
def test_any_source_is_loaded(source: str) -> None:
    with DebugInfo.load("offramp_test", source) as info:
        assert not info.closed
        assert len(info.attributes()) == 40


def test_a_program_runs_without_types_if_the_kernel_refuses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise KernelError("loading types", 22)

    monkeypatch.setattr("offramp.bpf.debug_info.bpf", refuse)
    with DebugInfo.load("offramp_test", "") as info:
        assert info.closed
        assert info.attributes() == b""
    with load() as program:
        (about,) = [each for each in json.loads(bpftool("-j", "prog", "show")) if each["id"] == program.id]
        assert (about["name"], about.get("btf_id")) == ("offramp_test", None)


def test_the_function_is_found_by_its_name() -> None:
    blob, file, line = types("offramp_drop", "udp -> DROP")
    assert btf.find_function(blob, "offramp_drop") == 6
    strings = blob[blob.index(b"\0data\0") :]
    assert strings[file:].startswith(b"offramp\0")
    assert strings[line:] == b"udp -> DROP\0"
