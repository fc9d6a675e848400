# SPDX-License-Identifier: Apache-2.0
"""The kernels that guests run: Debian's own, the oldest that offramp supports, one in use everywhere, a recent one.

Versions vanish from the mirror when newer ones arrive, so none is named: the newest package of the first pattern that
finds one is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["KERNELS", "OLDEST", "Kernel", "allows", "newest", "version"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """`patterns` are of what stands between "linux-image-" and "-amd64", in order of preference."""

    name: str
    patterns: tuple[str, ...]
    if_named: bool = False  # only for tests whose mark says `kernels=`, or if it is asked for


KERNELS = (
    Kernel("6.1", (r"6\.1\.0-\d+",)),  # Debian 12
    Kernel("6.12", (r"6\.12\.[\d.]+\+deb12", r"6\.12\.[\d.]+\+deb13"), if_named=True),  # bookworm-backports; Debian 13
    # trixie-backports; igb has zero-copy from 6.14 on. The long-term one first, then the nearest to it.
    Kernel("6.18", (r"6\.18\.[\d.]+\+deb13", r"6\.1[679]\.[\d.]+\+deb13", r"7\.\d+\.[\d.]+\+deb13")),
)
OLDEST = KERNELS[0].name


def newest(kernel: Kernel, packages: Iterable[str]) -> str | None:
    """The package to take, of all names that there are; None if no pattern finds any."""
    names = list(packages)
    for pattern in kernel.patterns:
        if found := [name for name in names if re.fullmatch(rf"linux-image-{pattern}-amd64", name)]:
            return max(found, key=version)
    return None


def version(text: str) -> tuple[int, ...]:
    """The numbers in it: versions compare by them."""
    return tuple(map(int, re.findall(r"\d+", text)))


def allows(condition: str, kernel: str) -> bool:
    """Whether a kernel, "6.12", fulfills a condition: ">=6.14", "<6.14", "6.1", or several with commas between them."""
    return all(_allows(part.strip(), version(kernel)) for part in condition.split(",") if part.strip())


def _allows(condition: str, found: tuple[int, ...]) -> bool:
    split = re.fullmatch(r"(>=|<|)(\d+\.\d+)", condition)
    if split is None:
        raise ValueError(f"kernels={condition!r}: not of the form >=6.14, <6.14 or 6.1")
    limit = version(split[2])
    return {">=": found >= limit, "<": found < limit, "": found == limit}[split[1]]
