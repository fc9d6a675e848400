# SPDX-License-Identifier: Apache-2.0
"""Control flow, and what is known where: the pen with which values.py and decide.py write LLVM IR.

Each packet pointer is compared with the end once per path, and each value loaded once per path: `Known` is what holds
on every path to where the pen is. It is carried along the branches and intersected where branches meet:

    reach      address -> how many bytes from there on are inside the packet   at a join: the smaller number
    loads      (address, size) -> the register that holds the number           at a join: only what is the same register
    registers  what -> the register that it has been computed in               as loads

The check asks for exactly the bytes that the load needs. No check may come earlier or ask for more, because a load
beyond the end decides what the whole match means (see expression.py).

Facts keep registers alive, BPF has ten of them and 512 bytes of stack, and the verifier compares all that are alive
wherever ways meet. So the oldest facts are forgotten. Where ways meet, registers that reach less far on one of them are
forgotten too. Where a crowd of ways meets, all loads are forgotten: a number that is known on one way (it is 80) would
keep that way apart from the others (it is 443) for all that follows.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

from llvmlite import ir

from offramp.emit.target import I32, POINTER, Target, const
from offramp.immutable import field, immutable

__all__ = ["Address", "Emitter", "Known", "Label"]

_MOST_LOADS, _MOST_REGISTERS = 16, 6  # remembered at a time
_CROWD = 8  # ways

_Key = TypeVar("_Key")


@immutable
class Address:
    """`offset` bytes behind an i64 register."""

    register: ir.Value
    offset: int = 0

    def __add__(self, offset: int) -> Address:
        return Address(self.register, self.offset + offset)


@immutable
class Known:
    """What holds on every path to here."""

    reach: dict[ir.Value, int] = field(default_factory=dict)
    loads: dict[tuple[Address, int], ir.Value] = field(default_factory=dict)
    registers: dict[Hashable, ir.Value] = field(default_factory=dict)

    def reaching(self, address: ir.Value, length: int) -> Known:
        return Known({**self.reach, address: length}, self.loads, self.registers)

    def loaded(self, what: tuple[Address, int], value: ir.Value) -> Known:
        return Known(self.reach, _remember(self.loads, what, value, _MOST_LOADS), self.registers)

    def computed(self, what: Hashable, register: ir.Value) -> Known:
        registers = _remember(self.registers, what, register, _MOST_REGISTERS)
        gone = set(self.registers.values()) - set(registers.values())
        if not gone:
            return Known(self.reach, self.loads, registers)
        reach = {address: length for address, length in self.reach.items() if address not in gone}
        loads = {what: value for what, value in self.loads.items() if what[0].register not in gone}
        return Known(reach, loads, registers)

    @staticmethod
    def join(arrivals: Sequence[Known]) -> Known:
        if not arrivals:
            return Known()
        first, *others = arrivals
        if not others:
            return first
        reach = {
            address: min([length, *(other.reach[address] for other in others)])
            for address, length in first.reach.items()
            if all(address in other.reach for other in others)
        }
        crowd = len(arrivals) > _CROWD
        loads = {} if crowd else _common(first.loads, [other.loads for other in others])
        registers = _common(first.registers, [other.registers for other in others])
        uneven = {
            what
            for what, register in registers.items()
            if any(other.reach.get(register) != first.reach.get(register) for other in others)
        }
        return Known(reach, loads, {what: register for what, register in registers.items() if what not in uneven})


def _remember(known: dict[_Key, ir.Value], what: _Key, value: ir.Value, most: int) -> dict[_Key, ir.Value]:
    """`known` with one more fact, the latest; without the oldest if there are too many."""
    kept = known.copy()
    kept.pop(what, None)
    kept[what] = value
    while len(kept) > most:
        del kept[next(iter(kept))]
    return kept


def _common(first: dict[_Key, ir.Value], others: list[dict[_Key, ir.Value]]) -> dict[_Key, ir.Value]:
    return {what: value for what, value in first.items() if all(other.get(what) is value for other in others)}


class Label:
    """A place to branch to: its block, and the facts of all branches to it that are made before it is entered."""

    def __init__(self, block: ir.Block) -> None:
        self.block = block
        self.arrivals: list[Known] = []


class Emitter:
    """Writes at one place at a time; `facts` hold there. A label is entered after all branches to it are written."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.builder = target.builder
        self.facts = Known()
        self._unreachable = False

    def label(self) -> Label:
        return Label(self.target.function.append_basic_block())

    def goto(self, label: Label) -> None:
        self._arrive(label, self.facts)
        self.builder.branch(label.block)

    def branch(self, condition: ir.Value, yes: Label, no: Label) -> None:
        self._arrive(yes, self.facts)
        self._arrive(no, self.facts)
        self.builder.cbranch(condition, yes.block, no.block)

    def enter(self, label: Label) -> None:
        self.merge(label)

    def merge(self, label: Label, *values: Sequence[tuple[ir.Value, ir.Block]]) -> list[ir.Value]:
        """Enter `label`. For each of `values`, returns the one that comes from the block from which the packet came."""
        self._unreachable = not label.arrivals
        self.facts = Known.join(label.arrivals)
        self.builder.position_at_end(label.block)
        merged = []
        for choices in values:
            merged.append(self.builder.phi(choices[0][0].type))
            for value, block in choices:
                merged[-1].add_incoming(value, block)
        if len(label.arrivals) > _CROWD:
            self.target.fence()
        return merged

    def leave(self, label: Label) -> None:
        """Go to the label, whatever is written next."""
        self.goto(label)
        self.enter(self.label())

    def _arrive(self, label: Label, facts: Known) -> None:
        if not self._unreachable:
            label.arrivals.append(facts)

    def bounded(self, value: ir.Value, maximum: int, otherwise: Label) -> ir.Value:
        """`value`, i64, with proof for the verifier that it is at most `maximum`."""
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
        if self.target.farthest is not None and length > self.target.farthest:
            self.leave(otherwise)
            return
        inside = self.label()
        self.builder.cbranch(self.target.beyond(address.register, length), otherwise.block, inside.block)
        self._arrive(otherwise, self.facts)
        self._arrive(inside, self.facts.reaching(address.register, length))
        self.enter(inside)

    def load(self, address: Address, size: int, reject: Label, *, apart: bool = False) -> ir.Value:
        """The big-endian number of `size` bytes at `address`, as i32. `apart`: in a register of its own."""
        self.require(address, size, reject)
        what = (address, size)
        value = None if apart else self.facts.loads.get(what)
        if apart:
            self.target.fence()
        if value is None:
            value = self._load(address, size)
        if not apart:
            self.facts = self.facts.loaded(what, value)
        return value

    def _load(self, address: Address, size: int) -> ir.Value:
        pointer = self.builder.inttoptr(self.locate(address), POINTER)
        value = self.builder.load(pointer, typ=ir.IntType(8 * size), align=1)
        if size > 1:
            value = self.builder.bswap(value)
        return self.builder.zext(value, I32) if size < 4 else value

    def remember(self, what: Hashable, register: ir.Value) -> None:
        self.facts = self.facts.computed(what, register)

    def remembered(self, what: Hashable) -> ir.Value | None:
        return self.facts.registers.get(what)

    def locate(self, address: Address) -> ir.Value:
        """`address` as one i64."""
        return self.builder.add(address.register, const(address.offset)) if address.offset else address.register
