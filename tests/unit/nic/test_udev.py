# SPDX-License-Identifier: Apache-2.0
"""Whether udev is done with an interface, by its records."""

from __future__ import annotations

from pathlib import Path

import pytest

from offramp.nic import udev


def test_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udev, "_RUN", tmp_path)
    monkeypatch.setattr(udev, "_is_first", lambda: True)
    assert udev.settled(7), "there is no udev"
    (tmp_path / "control").touch()
    assert not udev.settled(7), "it has not seen the interface yet"
    (tmp_path / "data").mkdir()
    record = tmp_path / "data" / "n7"
    for text, settled in (
        ("E:ID_NET_NAME=enp1s0\n", False),
        ("E:ID_RENAMING=1\nI:8012345\n", False),
        ("I:8012345\nE:ID_NET_NAME=enp1s0\nV:1\n", True),
    ):
        record.write_text(text)
        assert udev.settled(7) is settled
    record.unlink()
    monkeypatch.setattr(udev, "_is_first", lambda: False)
    assert udev.settled(7), "it sees no other network namespaces"
