# SPDX-License-Identifier: Apache-2.0
"""Lowered form -> LLVM IR: control flow that stops as soon as the result is known.

    expression(All((a, b)), yes, no):         a ──true──> b ──true──> yes
                                              └──false──> no <──false──┘
    a load beyond the end, wherever it is:    ──────────> reject

Each packet pointer is compared with the end once per path, and each value loaded once per path: `Facts` are what holds
on every path to a place. They are carried along the branches and intersected where branches meet:

    reach   address -> how many bytes from there on are inside the packet     at a join: the smaller number
    values  what -> the register that holds it                                at a join: only what is the same register

The check asks for exactly the bytes that the load needs, because a load beyond the end decides what the whole match
means (see tests.py): no check may come earlier or ask for more.

A value is an unsigned i32 in host order. The IPv4 header's length is variable: offset and address pass through a
barrier, and the offset through a comparison that always holds (target.py says why).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from llvmlite import ir

from offramp.compile.target import I32, I64, POINTER, Target, const
from offramp.compile.tests import ALL_ONES, ETHERTYPE_OFFSET, NET_OFFSET, All, Any, Base, Const, Expr, Negate, Test

__all__ = ["Address", "Emitter", "Facts", "Frame", "Label"]

_MAX_IHL_BYTES = 15 * 4
_MAX_REACH = 0xFF00  # no packet is longer; the verifier follows packet pointers up to 0xffff, variable offsets included


@dataclass(frozen=True, slots=True)
class Address:
    """`offset` bytes behind an i64 register."""

    register: ir.Value
    offset: int = 0

    def __add__(self, offset: int) -> Address:
        return Address(self.register, self.offset + offset)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the layers of a frame are."""

    link: Address
    net: Address | None  # None: nowhere; the frame's tag is out of band, so that offsets on the wire are not those here
    ethertype: ir.Value | None = None  # i32, if it is not (only) at link + 12

    def tears(self, test: Test) -> bool:
        """Whether tags, which the test does not see, stand between the bytes that it loads."""
        across = test.base is Base.LINK and test.offset < ETHERTYPE_OFFSET < test.offset + test.size
        return across and self.net != self.link + NET_OFFSET


@dataclass(frozen=True, slots=True)
class Facts:
    """What holds on every path to this place."""

    reach: dict[ir.Value, int] = field(default_factory=dict)
    values: dict[Hashable, ir.Value] = field(default_factory=dict)

    def reaching(self, address: ir.Value, length: int) -> Facts:
        return replace(self, reach={**self.reach, address: length})

    def knowing(self, what: Hashable, value: ir.Value) -> Facts:
        return replace(self, values={**self.values, what: value})

    @staticmethod
    def join(arrivals: Sequence[Facts]) -> Facts:
        if not arrivals:
            return Facts()
        first, *others = arrivals
        if not others:
            return first
        reach = {
            address: min([length, *(other.reach[address] for other in others)])
            for address, length in first.reach.items()
            if all(address in other.reach for other in others)
        }
        values = {
            what: value
            for what, value in first.values.items()
            if all(other.values.get(what) is value for other in others)
        }
        return Facts(reach, values)


class Label:
    """A place to branch to: its block, and the facts of all who branch there before it is entered."""

    def __init__(self, block: ir.Block) -> None:
        self.block = block
        self.arrivals: list[Facts] = []


class Emitter:
    """Writes at one place at a time; `facts` hold there. A label is entered after all branches to it are written."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.builder = target.builder
        self.facts = Facts()

    def label(self) -> Label:
        return Label(self.target.function.append_basic_block())

    def goto(self, label: Label) -> None:
        label.arrivals.append(self.facts)
        self.builder.branch(label.block)

    def branch(self, condition: ir.Value, yes: Label, no: Label) -> None:
        yes.arrivals.append(self.facts)
        no.arrivals.append(self.facts)
        self.builder.cbranch(condition, yes.block, no.block)

    def enter(self, label: Label) -> None:
        self.facts = Facts.join(label.arrivals)
        self.builder.position_at_end(label.block)

    def expression(self, expr: Expr, frame: Frame, yes: Label, no: Label, reject: Label) -> None:
        """Branch to `yes` or `no` by the value of `expr`, or to `reject`. Leaves the current place."""
        match expr:
            case Const(value):
                self.goto(yes if value else no)
            case Negate(part):
                self.expression(part, frame, no, yes, reject)
            case All(parts):
                for part in parts:
                    next_part = self.label()
                    self.expression(part, frame, next_part, no, reject)
                    self.enter(next_part)
                self.goto(yes)
            case Any(parts):
                for part in parts:
                    next_part = self.label()
                    self.expression(part, frame, yes, next_part, reject)
                    self.enter(next_part)
                self.goto(no)
            case Test():
                self._test(expr, frame, yes, no, reject)

    def _test(self, test: Test, frame: Frame, yes: Label, no: Label, reject: Label) -> None:
        value = self._operand(test, frame, reject)
        if value is None:
            self.goto(reject)
            return
        if test.mask != ALL_ONES:
            value = self.builder.and_(value, const(test.mask, I32))
        self.branch(self.builder.icmp_unsigned(test.op, value, const(test.value, I32)), yes, no)

    def _operand(self, test: Test, frame: Frame, reject: Label) -> ir.Value | None:
        """What the test loads; None if the frame has no such place."""
        if (test.base, test.offset, test.size) == (Base.LINK, ETHERTYPE_OFFSET, 2) and frame.ethertype is not None:
            return frame.ethertype
        if frame.tears(test):
            return self._byte_by_byte(test, frame, reject)
        address = self._address(test, frame, reject)
        return self.load(address, test.size, reject) if address is not None else None

    def _byte_by_byte(self, test: Test, frame: Frame, reject: Label) -> ir.Value | None:
        value: ir.Value = const(0, I32)
        for index in range(test.size):
            byte = self._operand(replace(test, offset=test.offset + index, size=1), frame, reject)
            if byte is None:
                return None
            value = self.builder.or_(self.builder.shl(value, const(8, I32)), byte)
        return value

    def _address(self, test: Test, frame: Frame, reject: Label) -> Address | None:
        if test.base is Base.LINK and test.offset < ETHERTYPE_OFFSET:
            return frame.link + test.offset
        if frame.net is None:
            return None
        match test.base:
            case Base.LINK:
                return frame.net + (test.offset - NET_OFFSET)
            case Base.NET:
                return frame.net + test.offset
            case Base.TRANSPORT:
                return self._behind_ipv4(frame.net, reject) + test.offset

    def _behind_ipv4(self, net: Address, reject: Label) -> Address:
        """The end of the IPv4 header at `net`."""
        first = self.load(net, 1, reject)
        if net not in self.facts.values:
            words = self.builder.zext(self.builder.and_(first, const(0x0F, I32)), I64)
            offset = self.bounded(self.builder.shl(words, const(2)), _MAX_IHL_BYTES, reject)
            behind = self.target.barrier(self.builder.add(self.locate(net), offset))
            self.facts = self.facts.knowing(net, behind)
        return Address(self.facts.values[net])

    def bounded(self, value: ir.Value, maximum: int, otherwise: Label) -> ir.Value:
        """`value`, and proof for the verifier that it is at most `maximum`."""
        inside = self.label()
        value = self.target.barrier(value)
        self.branch(self.builder.icmp_unsigned("<=", value, const(maximum)), inside, otherwise)
        self.enter(inside)
        return value

    def require(self, address: Address, size: int, otherwise: Label) -> None:
        """Go on if `size` bytes from `address` on are inside the packet."""
        length = address.offset + size
        if length <= self.facts.reach.get(address.register, 0):
            return
        inside = self.label()
        if length > _MAX_REACH:
            self.goto(otherwise)
            self.enter(inside)
            return
        end = self.builder.add(address.register, const(length))
        beyond = self.builder.icmp_unsigned(">", end, self.target.end)
        self.builder.cbranch(beyond, otherwise.block, inside.block)
        otherwise.arrivals.append(self.facts)
        inside.arrivals.append(self.facts.reaching(address.register, length))
        self.enter(inside)

    def load(self, address: Address, size: int, reject: Label) -> ir.Value:
        """The big-endian number of `size` bytes at `address`, as i32."""
        self.require(address, size, reject)
        what = (address, size)
        if what not in self.facts.values:
            pointer = self.builder.inttoptr(self.locate(address), POINTER)
            value = self.builder.load(pointer, typ=ir.IntType(8 * size), align=1)
            if size > 1:
                value = self.builder.bswap(value)
            if size < 4:
                value = self.builder.zext(value, I32)
            self.facts = self.facts.knowing(what, value)
        return self.facts.values[what]

    def locate(self, address: Address) -> ir.Value:
        """`address` as one i64."""
        return self.builder.add(address.register, const(address.offset)) if address.offset else address.register
