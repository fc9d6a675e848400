# SPDX-License-Identifier: Apache-2.0
"""The function around a match in user space, as LLVM IR: each packet of a burst, one after the other.

    void match(const u8 *const *packets, const u32 *captured, const u32 *lengths, u64 n, u8 *verdicts,
               const u8 *const *sets)

`captured` bytes of a packet are there; `lengths` is what it had on the wire. `verdicts` become 1 where the match holds.
"""

from __future__ import annotations

from llvmlite import ir

from offramp.emit.decide import Decision
from offramp.emit.emitter import Emitter
from offramp.emit.target import I8, I32, I64, Native, const
from offramp.emit.values import TaggedValues, Values
from offramp.lower.expression import Lowered

__all__ = ["build"]


def build(match: Lowered, tag: int | None = None) -> str:
    """The module's text.

    `tag`: of a VLAN tag that is out of band in every packet, ethertype and control information. That is how the XDP
    program sees frames of some drivers; here it is for tests, which cannot have such a driver for each case.
    """
    target = Native()
    emit, builder = Emitter(target), target.builder
    packets, captured, lengths, count, verdicts, _ = target.function.args
    loop, matches, others, decided, done = (emit.label() for _ in range(5))
    entry = builder.block
    emit.branch(builder.icmp_unsigned("==", count, const(0)), done, loop)
    emit.enter(loop)
    index = builder.phi(I64)
    index.add_incoming(const(0), entry)

    def element(array: ir.Value, type: ir.Type) -> ir.Value:
        return builder.load(builder.gep(array, [index], source_etype=type), typ=type)

    target.data = element(packets, I64)
    target.captured = builder.zext(element(captured, I32), I64)
    target.end = builder.add(target.data, target.captured)
    target.on_wire = element(lengths, I32)
    values = Values(emit, others) if tag is None else TaggedValues(emit, others, const(tag, I32), (tag >> 16,))
    Decision(values, match.sets).decide(match.expr, matches, others)
    emit.enter(matches)
    emit.goto(decided)
    emit.enter(others)
    emit.goto(decided)
    (verdict,) = emit.merge(decided, [(const(1, I8), matches.block), (const(0, I8), others.block)])
    builder.store(verdict, builder.gep(verdicts, [index], source_etype=I8))
    following = builder.add(index, const(1))
    index.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_unsigned("==", following, count), done.block, loop.block)
    emit.enter(done)
    builder.ret_void()
    return str(target.module)
