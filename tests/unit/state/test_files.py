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
        with pytest.raises(OptionError, match=r"listed\.txt: '.*' is not an address, network or port"):
            read(listed)


def test_a_byte_order_mark_is_no_element(tmp_path: Path) -> None:
    listed = tmp_path / "listed.txt"
    listed.write_bytes(b"\xef\xbb\xbf10.0.0.1\r\n")
    assert len(load(listed)) == 1
