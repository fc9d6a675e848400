# SPDX-License-Identifier: Apache-2.0
"""Names of hosts are looked up by the system's resolver, once: /etc/hosts, and a DNS server that says what it is told.

Each test runs in a process with a network and mounts of its own, so that this machine's files stay as they are.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.speed  # it would take long in a slow guest

INSIDE = Path(__file__).with_name("inside.py")


def looked_up(
    tmp_path: Path, *matches: str, hosts: str = "", answers: Mapping[str, list[str] | None] | None = None
) -> list[str]:
    """What becomes of each match: its canonical text, or the error."""
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
    (tmp_path / "networks").write_text("# known\nloopback 127.0.0.0\noffice 10.20.0.0 hq # aliases\nodd 300.1\n")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: files dns\nnetworks: files\n")
    (tmp_path / "answers").write_text(json.dumps(answers or {}))
    command = ["unshare", "--mount", "--net", sys.executable, str(INSIDE), str(tmp_path), *matches]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


HOSTS = "192.0.2.7 www.example.org www\n2001:db8::7 www.example.org\n192.0.2.8 v4only\n2001:db8::8 v6only\n"


@pytest.mark.parametrize(
    ("match", "means"),
    [
        ("host v4only", "host 192.0.2.8"),
        ("src host v6only and tcp", "src host 2001:db8::8 and tcp"),
        ("not host v4only", "not host 192.0.2.8"),
        ("host v4only or v6only", "host 192.0.2.8 or host 2001:db8::8"),
        ("dst v4only and port domain", "dst host 192.0.2.8 and port 53"),
        ("ip host www.example.org", "ip host 192.0.2.7"),
        ("ip6 dst host www.example.org", "ip6 dst host 2001:db8::7"),
        ("arp host www.example.org", "arp host 192.0.2.7"),
        ("host localhost", "host 127.0.0.1"),
        ("net office", "net 10.20.0.0/16"),
        ("src net hq or loopback", "src net 10.20.0.0/16 or src net 127.0.0.0/8"),
    ],
)
def test_hosts_and_networks_of_files(tmp_path: Path, match: str, means: str) -> None:
    assert looked_up(tmp_path, match, hosts=HOSTS) == [means]


def test_all_addresses_are_meant(tmp_path: Path) -> None:
    (found,) = looked_up(tmp_path, "not src host www.example.org and udp", hosts=HOSTS)
    assert found in (
        "not (src host 192.0.2.7 or src host 2001:db8::7) and udp",
        "not (src host 2001:db8::7 or src host 192.0.2.7) and udp",
    )


def test_a_dns_server_answers(tmp_path: Path) -> None:
    many = [f"198.51.100.{number}" for number in range(1, 20)]
    answers = {"a.test": ["192.0.2.1"], "both.test": ["192.0.2.2", "2001:db8::2"], "many.test": many}
    matches = ["host a.test", "host A.TEST.", "host both.test", "src host many.test", "host a.test or a.test"]
    one, dotted, both, several, twice = looked_up(tmp_path, *matches, answers=answers)
    assert (one, dotted, twice) == ("host 192.0.2.1", "host 192.0.2.1", "host 192.0.2.1 or host 192.0.2.1")
    assert sorted(both.split(" or ")) == ["host 192.0.2.2", "host 2001:db8::2"]
    assert sorted(several.split(" or ")) == sorted(f"src host {address}" for address in many)


@pytest.mark.parametrize(
    ("match", "error"),
    [
        ("host none.test", "'none.test': there is no such host"),
        ("host silent.test", "'silent.test': it cannot be looked up now"),
        ("host zero.test", "its address is said to be 0.0.0.0, which no host has"),
        ("host group.test", "its address is said to be 224.0.0.1, which no host has"),
        ("host crowd.test", "it has 300 addresses, and at most 256 are taken"),
        ("ip6 host v4.test", "'v4.test' has no IPv6 address (leave out 'ip6')"),
        ("tcp host v4.test", "'tcp' cannot qualify an IPv4 address"),
        ("host 0x7f.1", "no host can be called so"),
        (f"host {'a' * 64}.test", "no host can be called so"),
        (f"host {'a.' * 127}test", "no host can be called so"),
        ("host \\a$b", "no host can be called so"),
        ("net nowhere", "/etc/networks has no such network"),
        ("net odd", "/etc/networks has no such network"),
        ("ether host v4.test", "names of stations are not looked up"),
        ("host v4.test and tpc", "unknown word 'tpc'"),
        ("dst prot 53", "did you mean 'dst port 53'?"),
    ],
)
def test_what_has_no_address(tmp_path: Path, match: str, error: str) -> None:
    answers: dict[str, list[str] | None] = {
        "silent.test": None,
        "zero.test": ["0.0.0.0"],
        "group.test": ["224.0.0.1"],
        "crowd.test": [f"10.0.{number >> 8}.{number & 255}" for number in range(300)],
        "v4.test": ["192.0.2.1"],
    }
    (found,) = looked_up(tmp_path, match, answers=answers)
    assert error in found
    assert found.startswith("MatchError")


def test_a_resolver_that_does_not_answer(tmp_path: Path) -> None:
    """The wait has an end, whatever resolv.conf(5) says; and it is one wait for all names."""
    (tmp_path / "patience").write_text("0.5")
    (found,) = looked_up(tmp_path, "host silent.test or silent2.test", answers={"silent.test": None})
    assert "the resolver did not answer within 0.5 s" in found


def test_nothing_is_looked_up_unasked(tmp_path: Path) -> None:
    (tmp_path / "unasked").write_text("")
    (found,) = looked_up(tmp_path, "host www.example.org", hosts=HOSTS)
    assert "names of hosts are looked up where that is asked for (resolve=True)" in found


def test_the_plan_shows_names(tmp_path: Path) -> None:
    (tmp_path / "verb").write_text("plan")
    shown = looked_up(tmp_path, "host www.example.org", hosts=HOSTS)
    page = "\n".join(shown)
    assert "  names      www.example.org is " in page
    assert "192.0.2.7" in page
    assert "2001:db8::7" in page
    (tmp_path / "verb").write_text("plan -n")
    assert "(resolve=True)" in "\n".join(looked_up(tmp_path, "host www.example.org", hosts=HOSTS))
    (tmp_path / "verb").write_text("plan --no-resolve")
    assert "(resolve=True)" in "\n".join(looked_up(tmp_path, "host www.example.org", hosts=HOSTS))
    (tmp_path / "verb").write_text("run")
    shown = looked_up(tmp_path, "host www.example.org", hosts=HOSTS)
    assert any("192.0.2.7" in line for line in shown), shown
