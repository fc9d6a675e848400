# SPDX-License-Identifier: Apache-2.0
"""An interface in use, without a ramp: its changes are made and given back by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from offramp.facts.knobs import Nic
from offramp.ramp.interface import Interface, Use

__all__ = ["Nobody", "in_use"]


class Nobody:
    """Who owns a section that no ramp has."""

    def detached(self, text: str) -> None:
        raise AssertionError(text)


@contextmanager
def in_use(nic: Nic) -> Iterator[tuple[Interface, Use]]:
    with Use() as use:
        yield Interface(nic, use), use
