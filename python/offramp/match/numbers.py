# SPDX-License-Identifier: Apache-2.0
"""Spellings of addresses to numbers. Arithmetic only: lists of addresses come by the hundred thousand."""

from __future__ import annotations


def ipv4(text: str) -> tuple[int, int] | None:
    """The number of a dotted address and how many bits are given (10.1 is 10.1.0.0, 16 bits); leading zeros count for
    nothing. None if a part is greater than 255.
    """
    value, bits = 0, 0
    for part in text.split("."):
        digits = part.lstrip("0") or "0"
        if len(digits) > 3 or (byte := int(digits)) > 255:
            return None
        value, bits = value << 8 | byte, bits + 8
    return value << (32 - bits), bits


def ipv6(text: str) -> int | None:
    """The number of an IPv6 address in the scanner's spelling; None if its dotted end is no IPv4 address."""
    if "." in text:
        front, _, dotted = text.rpartition(":")
        parts = dotted.split(".")
        if any(len(part) > 3 or (part[0] == "0" and part != "0") or int(part) > 255 for part in parts):
            return None
        a, b, c, d = map(int, parts)
        text = f"{front}:{a << 8 | b:x}:{c << 8 | d:x}"
    head, _, tail = text.partition("::")
    before, after = head.split(":") if head else [], tail.split(":") if tail else []
    value = 0
    for group in before:
        value = value << 16 | int(group, 16)
    value <<= 16 * (8 - len(before))
    rest = 0
    for group in after:
        rest = rest << 16 | int(group, 16)
    return value | rest


def mac(text: str) -> int:
    """The 48 bits of an Ethernet address: six bytes, three groups of four digits, or twelve digits."""
    parts = text.replace("-", ":").replace(".", ":").split(":")
    return int("".join(part.zfill(12 // len(parts)) for part in parts), 16)
