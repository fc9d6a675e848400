# SPDX-License-Identifier: Apache-2.0
"""A directory of journals for each test, no guardian, and a NIC in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from offramp.journal import guardian
from offramp.journal.store import Store
from tests.rigs.journals import PlainNic


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("OFFRAMP_STATE_DIR", str(tmp_path / "state"))
    yield Store()
    assert not (tmp_path / "state").exists() or not list((tmp_path / "state").glob("*.lock"))


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the guardian was told to watch; there is none, since it takes its time to start."""
    told: dict[str, int] = {}
    monkeypatch.setattr(guardian, "watch", told.__setitem__)
    monkeypatch.setattr(guardian, "done", lambda journal: told.pop(journal, None))
    return told


@pytest.fixture
def nic() -> PlainNic:
    return PlainNic()
