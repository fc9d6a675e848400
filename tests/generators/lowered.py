# SPDX-License-Identifier: Apache-2.0
"""Expressions of the lowered form, packets for which they are sometimes true and sometimes false, and native code, run
in this process.

The values are few and small, so tests hold now and then, and places are mostly inside the packet.
"""

from __future__ import annotations

import ctypes
import mmap
import random
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Literal, Self

from hypothesis import settings

from offramp.lower.expression import (
    TAG_ETHERTYPES,
    All,
    Any,
    Calculation,
    Chain,
    Choice,
    Const,
    Expr,
    Length,
    Load,
    Negate,
    Number,
    Operator,
    Place,
    TagBytes,
    Test,
    Value,
)
from offramp.verdict import Verdict

__all__ = [
    "DNS",
    "HEADER",
    "IP",
    "IP6",
    "ROUNDS",
    "UDP",
    "Code",
    "Expressions",
    "behind_header",
    "equals",
    "header",
    "load",
    "packet",
]

ROUNDS: Final = 4 * settings().max_examples  # of which there are 100, or what --hypothesis-profile says

Size = Literal[1, 2, 4]
SIZES: Final[tuple[Size, ...]] = (1, 2, 4)
OPERATORS: Final[tuple[Operator, ...]] = ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")
NUMBERS: Final = (
    *(0, 1, 2, 3, 4, 5, 6, 8, 12, 14, 15, 17, 31, 32, 40, 255),
    *(0x800, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0xFFFF_FFFF),
)


def load(offset: int, size: Size, *behind: Value) -> Load:
    return Load(Place(offset, behind), size)


def equals(offset: int, size: Size, value: int, mask: int | None = None) -> Test:
    """A number at a fixed place, masked or not, equals `value`."""
    number: Value = load(offset, size)
    return Test(Calculation("&", number, Number(mask)) if mask is not None else number, "==", Number(value))


def header(at: int = 14, *behind: Value) -> Value:
    """The length of the IPv4 header at this place."""
    return Calculation("<<", Calculation("&", load(at, 1, *behind), Number(15)), Number(2))


def behind_header(offset: int, size: Size) -> Load:
    """A number behind the IPv4 header of an untagged frame."""
    return load(14 + offset, size, HEADER)


HEADER: Final = header()
IP, IP6 = equals(12, 2, 0x0800), equals(12, 2, 0x86DD)
UDP = Any((All((IP6, equals(20, 1, 17))), All((IP, equals(23, 1, 17)))))
DNS = Any(
    (
        All((IP6, equals(20, 1, 17), equals(56, 2, 53))),
        All((IP, equals(23, 1, 17), equals(20, 2, 0, 0x1FFF), Test(behind_header(2, 2), "==", Number(53)))),
    )
)


def _calculation(operator: Operator, right: Value | int) -> Test:
    """A calculation with a number from the packet and `right`, compared with another number from it."""
    number = Number(right) if isinstance(right, int) else right
    return Test(Calculation(operator, load(14, 4), number), "==", load(60, 4))


_FAR = Calculation("*", load(16, 4), Number(1))  # up to 2**32 - 1
KINDS: Final[dict[str, Expr]] = {
    "equal": Test(load(14, 1), "==", Number(0x45)),
    "at least": Test(load(16, 2), ">=", Number(0x100)),
    "at most, as unsigned": Test(load(16, 4), "<=", Number(0xFFFF_0000)),
    "never": Test(load(14, 1), ">=", Number(0x100)),
    "two places": Test(load(14, 2), "<=", load(16, 2)),
    "two numbers": Test(Number(3), "<=", Number(2)),
    "number on the left": Test(Number(0x45), "==", load(14, 1)),
    "each side beyond the end": Any((Test(load(0, 1), ">=", load(70, 4)), Const(True))),
    "length": Test(Length(), ">=", Number(60)),
    "length, calculated": Test(Calculation("%", Length(), Number(7)), "==", Number(3)),
    "place by length": Test(load(0, 1, Calculation("-", Length(), Number(1))), "<=", Number(17)),
    "tags": Test(TagBytes(12), "==", Number(4)),
    "tags that are not there": Test(TagBytes(30), "==", Number(0)),
    "behind tags": Test(load(12, 2, TagBytes(12)), "==", Number(0x0800)),
    "behind tags and a header": Test(load(16, 2, TagBytes(12), header(14, TagBytes(12))), "==", Number(53)),
    "chosen": Test(Choice(load(12, 2), 0x0800, load(14, 1), load(15, 1)), "==", Number(0x45)),
    "in a chosen place": Test(load(16, 2, Choice(load(12, 2), 0x0800, header(), Number(40))), "<=", Number(0x100)),
    "a choice that cannot be read": Any((Test(Choice(load(14, 1), 0, load(200, 1), Number(1)), ">=", Number(0)), UDP)),
    "a chain of IPv4": Chain(Place(14), 4, 17),
    "a chain of IPv6": Chain(Place(14), 6, 6),
    "a chain behind tags": Chain(Place(14, (TagBytes(12),)), 6, 58),
    "a chain in the tag": Chain(Place(8), 6, 3),
    "a chain that is too long": Negate(Chain(Place(14), 6, 200)),
    "behind a header": Test(behind_header(2, 2), "==", Number(53)),
    "behind a number": Test(load(20, 1, Number(3)), "==", Number(17)),
    "behind numbers only": Test(load(0, 2, Number(4), Number(8)), "==", Number(0x0800)),
    "behind what is behind": Test(load(0, 1, load(0, 1, load(14, 1))), ">=", Number(3)),
    "a place without wrap": Any((Test(load(2, 1, Number(0xFFFF_FFFF)), "==", Number(0)), Const(True))),
    "a sum without wrap": Any((Test(load(0, 1, _FAR, _FAR, Number(0xFFFF_FF00)), ">=", Number(0)), Const(True))),
    "a far place": Any((Test(load(0, 4, _FAR), ">=", Number(0)), Negate(Const(True)))),
    "a place in the tag": Test(load(8, 4, Calculation("&", load(40, 1), Number(15))), ">=", Number(0x100)),
    "a place from the first byte on": Test(load(0, 2, Calculation("&", load(40, 1), Number(31))), "<=", Number(0x100)),
    "behind at least 16": Test(load(0, 2, Calculation("|", load(40, 1), Number(16))), "<=", Number(0x100)),
    "across the tag": Test(load(10, 4), ">=", Number(0x0100_0000)),
    "the tag": Test(load(12, 4), ">=", Number(0x8100_0005)),
    "in the tag": Test(load(15, 1), "==", Number(5)),
    "through the end of the tag": Test(load(14, 4), "==", Number(0x0005_0800)),
    "plus": _calculation("+", load(20, 4)),
    "minus": _calculation("-", load(20, 4)),
    "times": _calculation("*", load(20, 4)),
    "divided": _calculation("/", load(20, 1)),
    "remainder": _calculation("%", load(20, 1)),
    "and": _calculation("&", load(20, 4)),
    "or": _calculation("|", load(20, 4)),
    "xor": _calculation("^", load(20, 4)),
    "left": _calculation("<<", load(20, 1)),
    "right": _calculation(">>", load(20, 1)),
    "left by 31": _calculation("<<", 31),
    "left by 32": _calculation("<<", 32),
    "right by 33": _calculation(">>", 33),
    "left by a lot": _calculation("<<", 0xFFFF_FFFF),
    "divided by 0": Any((_calculation("/", 0), Const(True))),
    "remainder of 0": Negate(_calculation("%", Calculation("-", load(20, 1), load(20, 1)))),
    "divided by 3": _calculation("/", 3),
    "not": Negate(UDP),
    "all of nothing": All(()),
    "any of nothing": Any(()),
    "dns": DNS,
    "not dns": Negate(DNS),
    "beyond the end below a not": Any((Negate(equals(75, 1, 0)), Const(True))),
}
"""One for each kind of value and test, and each that was ever wrong."""


def with_tag(packet: bytes, tag: int) -> bytes:
    """The frame as it was on the wire, if `tag` (ethertype and control information) was out of band."""
    return packet[:12] + tag.to_bytes(4, "big") + packet[12:]


class Expressions:
    """Random expressions. `depth` is that of the boolean part."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def __call__(self, depth: int = 3) -> Expr:
        kind = self.chance.random()
        if depth == 0 or kind < 0.2:
            return self.test()
        if kind < 0.35:
            return Negate(self(depth - 1))
        if kind < 0.37:
            return Const(self.chance.random() < 0.5)
        parts = tuple(self(depth - 1) for _ in range(self.chance.randrange(5)))
        return All(parts) if kind < 0.65 else Any(parts)

    def test(self) -> Test | Chain:
        kind = self.chance.random()
        if kind < 0.03:
            place = Place(self.chance.choice((6, 14, 18)), self.chance.choice(((), (TagBytes(12),))))
            return Chain(place, self.chance.choice((4, 6)), self.chance.choice((0, 1, 6, 17, 44, 51, 58)))
        if kind < 0.15:
            return Test(load(12, 2), "==", Number(self.chance.choice((0x0800, 0x86DD, 0x0806, *TAG_ETHERTYPES))))
        depth = self.chance.choice((0, 0, 1, 1, 2, 3))
        left = self.value(depth)
        right = self.number() if self.chance.random() < 0.7 else self.value(self.chance.choice((0, 1)))
        return Test(left, self.chance.choice(("==", "==", ">=", "<=")), right)

    def number(self) -> Number:
        return Number(self.chance.choice(NUMBERS) if self.chance.random() < 0.9 else self.chance.randrange(1 << 32))

    def value(self, depth: int) -> Value:
        kind = self.chance.random()
        if depth and kind < 0.6:
            operator = self.chance.choice(OPERATORS)
            return Calculation(operator, self.value(depth - 1), self.value(depth - 1))
        if depth and kind < 0.65:
            asked, yes, no = (self.value(depth - 1) for _ in range(3))
            return Choice(asked, self.chance.choice(NUMBERS), yes, no)
        if kind < 0.1:
            return self.number()
        if kind < 0.15:
            return Length()
        if kind < 0.2:
            return TagBytes(self.chance.choice((12, 12, 12, 16, 20, self.chance.randrange(70))))
        return self.load(depth)

    def load(self, depth: int) -> Load:
        size = self.chance.choice(SIZES)
        kind = self.chance.random()
        if kind < 0.5:
            offset = self.chance.choice((0, 6, 10, 11, 12, 12, 13, 14, 15, 16, 20, 23, 26, self.chance.randrange(80)))
            return load(offset, size)
        offset = self.chance.choice((0, 2, 12, 14, 16, 18, 20, 30, self.chance.randrange(300)))
        parts = [self.part(depth) for _ in range(self.chance.choice((1, 1, 1, 2, 3)))]
        return load(offset, size, *parts)

    def part(self, depth: int) -> Value:
        """A value that a place can be computed from."""
        kind = self.chance.random()
        if kind < 0.3:
            return header(self.chance.choice((14, 18, self.chance.randrange(40))))
        if kind < 0.5:
            return TagBytes(12)
        if kind < 0.6:
            return header(14, TagBytes(12))
        if kind < 0.7:
            return load(self.chance.randrange(40), 1)
        if kind < 0.9:
            return Calculation("&", self.value(depth), Number(self.chance.choice((3, 15, 63, 255))))
        return self.value(depth)


def packet(chance: random.Random, least: int = 14) -> bytes:
    """Random bytes with few values, at least `least` of them."""
    tags = b"".join(
        struct.pack("!HH", chance.choice(TAG_ETHERTYPES), chance.randrange(4))
        for _ in range(chance.choice([0] * 6 + [1, 1, 2, 3]))
    )
    ethertype = chance.choice([0x0800] * 5 + [0x86DD, 0x86DD, 0x0806, 0x8100, chance.randrange(1 << 16)])
    first = 0x40 | chance.randrange(5, 16) if ethertype == 0x0800 and chance.random() < 0.9 else chance.randrange(256)
    rest = bytes(chance.choice([0, 0, 1, 2, 3, 6, 17, 58, chance.randrange(256)]) for _ in range(100))
    if chance.random() < 0.1:
        rest += chance.randbytes(1300)
    whole = bytes(chance.randrange(4) for _ in range(12)) + tags + struct.pack("!HB", ethertype, first) + rest
    return whole[: chance.choice([len(whole), chance.randrange(least, len(whole) + 1), chance.randrange(least, 60)])]


class Code:
    """Native code, ready to be called; a context manager."""

    def __init__(self, code: bytes) -> None:
        rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._memory = mmap.mmap(-1, len(code), prot=rights)
        self._memory.write(code)
        self._pin: ctypes.c_char | None = ctypes.c_char.from_buffer(self._memory)
        pointer, number = ctypes.c_void_p, ctypes.c_uint64
        function = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, number, pointer, pointer)
        self.function = function(ctypes.addressof(self._pin))

    def __call__(
        self, packets: Sequence[bytes], lengths: Sequence[int] | None = None, sets: Sequence[int] = ()
    ) -> list[bool]:
        """Which of `packets` are dropped; others pass. `sets`: the addresses of their memory."""
        found = self.verdicts(packets, lengths, sets)
        assert set(found) <= {Verdict.DROP, Verdict.PASS}
        return [verdict == Verdict.DROP for verdict in found]

    def verdicts(
        self, packets: Sequence[bytes], lengths: Sequence[int] | None = None, sets: Sequence[int] = ()
    ) -> list[int]:
        """The number that each packet is given."""
        count = len(packets)
        starts = (ctypes.c_char_p * count)(*packets)
        captured = (ctypes.c_uint32 * count)(*map(len, packets))
        on_wire = (ctypes.c_uint32 * count)(*(lengths or map(len, packets)))
        verdicts = (ctypes.c_uint8 * count)(*[99] * count)
        memories = (ctypes.c_void_p * len(sets))(*sets)
        self.function(starts, captured, on_wire, count, verdicts, memories)
        return list(verdicts)

    def close(self) -> None:
        self._pin = None
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
