# SPDX-License-Identifier: Apache-2.0
"""The internet checksum. Source: RFC 1071."""

from __future__ import annotations

import struct

__all__ = ["checksum"]


def checksum(data: bytes | bytearray) -> bytes:
    """The complement of the ones' complement sum of big-endian 16-bit words; an odd byte counts as a word's first."""
    padded = bytes(data) + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF).to_bytes(2)
