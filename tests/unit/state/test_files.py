# SPDX-License-Identifier: Apache-2.0
"""Sets in files: saved, loaded, and lists from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offramp.errors import KernelError, OptionError
from offramp.state import HashSet, PrefixSet, load
from tests.unit.state.test_sets import FAMILIES

Make = Callable[..., Any]


@pytest.mark.parametrize(("make", "element", "family", "canonical"), FAMILIES, ids=repr)
def test_saved_and_loaded(make: Any, element: object, family: str, canonical: object, tmp_path: Path) -> None:
    path = tmp_path / "set.txt"
    make([element], capacity=None if family == "port" else 99).save(path)
    header, line = path.read_text().splitlines()
    assert header.startswith(f"# offramp {make.__name__} family={family} capacity=")
    assert line == str(canonical)
    loaded = make.load(path)
    assert (loaded.family, list(loaded)) == (family, [canonical])
    assert loaded.capacity == (65536 if family == "port" else 99)
    assert [each.name for each in tmp_path.iterdir()] == ["set.txt"]


def test_lists_from_elsewhere_are_read(tmp_path: Path) -> None:
    path = tmp_path / "drop.txt"
    path.write_text("# a feed\n\n  192.0.2.0/24 # SBL1\r\n198.51.100.0/24\n192.0.2.0/24")
    table = PrefixSet.load(str(path))
    assert (table.family, table.capacity, list(table)) == ("ip", 65536, ["192.0.2.0/24", "198.51.100.0/24"])
    assert PrefixSet.load(path, capacity=7).capacity == 7
    with pytest.raises(OptionError, match=r"drop.txt, line 3: \"192.0.2.0/24\" is a network, not an IPv4 address"):
        HashSet.load(path)
    with pytest.raises(OptionError, match=r"line 3: \"192.0.2.0/24\" is an IPv4 network or address, in a set of fam"):
        PrefixSet.load(path, family="ip6")
    with pytest.raises(OptionError, match="2 elements do not fit"):
        PrefixSet.load(path, capacity=1)


def test_files_that_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "set.txt"
    with pytest.raises(KernelError, match=r"loading a set from .*set.txt: No such file"):
        HashSet.load(path)
    with pytest.raises(KernelError, match="saving a set to"):
        HashSet([1]).save(tmp_path / "no" / "set.txt")
    path.write_bytes(b"10.0.0.1\n\xff")
    with pytest.raises(OptionError, match="byte 9 is not text"):
        HashSet.load(path)
    path.write_text("# nothing\n")
    with pytest.raises(OptionError, match="needs family="):
        HashSet.load(path)
    assert len(HashSet.load(path, family="ip")) == 0
    path.write_text("# offramp HashSet family=dog capacity=5\n")
    with pytest.raises(OptionError, match="line 1: 'dog' is not a family"):
        HashSet.load(path)
    PrefixSet(["10.0.0.0/8"]).save(path)
    with pytest.raises(OptionError, match=r"does not hold a HashSet \(PrefixSet.load\(\) reads it\)"):
        HashSet.load(path)


def test_a_file_keeps_its_permissions_and_its_link(tmp_path: Path) -> None:
    path, link = tmp_path / "set.txt", tmp_path / "link"
    path.write_text("")
    path.chmod(0o640)
    link.symlink_to(path)
    HashSet([1]).save(link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert "capacity=65536\n1\n" in path.read_text()


@pytest.mark.parametrize("first", ["80-90", "http", "10.0.0.1, 10.0.0.2"])
def test_a_file_that_is_no_list_is_named(tmp_path: Path, first: str) -> None:
    listed = tmp_path / "listed.txt"
    listed.write_text(f"{first}\n")
    for read in (load, HashSet.load):
        with pytest.raises(OptionError, match=r"listed\.txt, line 1: '.*' does not begin with an address"):
            read(listed)


def test_a_byte_order_mark_is_no_element(tmp_path: Path) -> None:
    listed = tmp_path / "listed.txt"
    listed.write_bytes(b"\xef\xbb\xbf10.0.0.1\r\n")
    assert len(load(listed)) == 1


FORMATS = {
    "Spamhaus DROP": """
        ; Spamhaus DROP List 2026/11/29 - (c) 2026 The Spamhaus Project SLU
        ; https://www.spamhaus.org/drop/drop.txt
        192.0.2.0/24 ; SBL256894
        198.51.100.7;SBL1 ; twice
    """,
    "FireHOL netset": """
        #
        # firehol_level1
        # Maintainer URL  : http://iplists.firehol.org/
        192.0.2.0/24
        198.51.100.7
    """,
    "with comments": "192.0.2.0/24 # first; really\n\n \t198.51.100.7\t; second # and last\r\n",
    "with words": "192.0.2.0/24  Some Network, Inc.\n198.51.100.7\twww.example.org www\n",
    "ipset save": """
        create bad hash:net family inet hashsize 1024 maxelem 65536 comment
        add bad 192.0.2.0/24 timeout 600 comment "an # and a ; in it"
        add bad 198.51.100.7
    """,
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_formats_that_lists_come_in(name: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(FORMATS[name])
    assert list(load(path)) == list(PrefixSet.load(path)) == ["192.0.2.0/24", "198.51.100.7"]
    assert list(PrefixSet.load(path, family="ip")) == ["192.0.2.0/24", "198.51.100.7"]


@pytest.mark.parametrize(
    ("lines", "elements"),
    [
        ("53 domain\n443 https # TLS\n;80\n", [53, 443]),
        ("02:00:00:00:00:01 a printer\n", ["02:00:00:00:00:01"]),
        ("2001:db8::/32 ; SBL2\n2001:db9::1 host\n", ["2001:db8::/32", "2001:db9::1"]),
        ("create six hash:ip family inet6\nadd six 2001:db8::1\n", ["2001:db8::1"]),
        ("create ports bitmap:port range 0-65535\nadd ports 80\n", [80]),
    ],
)
def test_other_elements_in_these_formats(lines: str, elements: list[object], tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(lines)
    assert list(load(path)) == elements


@pytest.mark.parametrize(
    "line",
    [
        "10.0.0.0 255.255.255.0",  # a mask
        "10.0.0.1 - 10.0.0.9",
        "10.0.0.1 10.0.0.9",
        "10.0.0.0 24",
        "10.0.0.1,10.0.0.2",
        "10.0.0.1, 10.0.0.2",
        "10.0.0.1,2026-11-29,ssh",
        "10.0.0.0-10.0.0.255",
        "! 10.0.0.1",
        "!10.0.0.1",
        '{"cidr":"10.0.0.0/8","sblid":"SBL1"}',
        "www.example.org",
        "add bad 10.0.0.0/8 nomatch",
        "add bad 10.0.0.1,tcp:80",
        "add bad",
        "del bad 10.0.0.1",
        "10.0.0.0/33",
        "10.0.0.1/8",
    ],
)
def test_what_says_more_than_is_understood_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    """A mask or a second address must not be lost without a word."""
    path = tmp_path / "list"
    for before in ("", "# a list\n\n192.0.2.1 ; fine\n"):
        path.write_text(f"{before}{line}\n")
        number = before.count("\n") + 1
        for read in (load, PrefixSet.load):
            with pytest.raises(OptionError) as caught:
                read(path)
            assert f"list, line {number}: " in str(caught.value)
            assert line[:8] in str(caught.value).replace("\\", "")
