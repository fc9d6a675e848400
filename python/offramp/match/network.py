# SPDX-License-Identifier: Apache-2.0
"""The addresses of a network, as a match says them: `10.0.0.0/8`, `10.0.0.1 mask 255.0.0.255`, `2001:db8::/32`."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["Network"]

_BITS: Final = {4: 32, 6: 128}


class Network(NamedTuple):
    """The IP addresses `a` with `a & mask == address`. An IPv4 mask need not be a prefix."""

    version: Literal[4, 6]
    address: int
    mask: int

    @classmethod
    def prefix(cls, version: Literal[4, 6], address: int, length: int) -> Network:
        bits = _BITS[version]
        return cls(version, address, (1 << bits) - (1 << (bits - length)))

    @property
    def length(self) -> int | None:
        """The prefix length; None if the mask is no prefix."""
        zeros = (1 << _BITS[self.version]) - 1 - self.mask
        return _BITS[self.version] - zeros.bit_length() if zeros & (zeros + 1) == 0 else None

    def __str__(self) -> str:
        length = self.length
        if self.version == 4:
            shown = _dotted(self.address)
            if length is None:
                return f"{shown} mask {_dotted(self.mask)}"
            return shown if length == 32 else f"{shown}/{length}"
        from ipaddress import IPv6Address

        shown = str(IPv6Address(self.address))
        return shown if length == 128 else f"{shown}/{length}"


def _dotted(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"
