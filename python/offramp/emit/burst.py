# SPDX-License-Identifier: Apache-2.0
"""The function around a body in user space, as LLVM IR: each packet of a burst, one after the other.

    void run(const u8 *const *packets, const u32 *captured, const u32 *lengths, u64 n, u8 *verdicts,
             u8 *const *state)

`captured` bytes of a packet are in memory; `lengths` are the bytes on the wire. `verdicts` become those of the exits.
"""

from __future__ import annotations

from collections.abc import Mapping

from llvmlite import ir

from offramp.emit.body import Body, Exit
from offramp.emit.emitter import Emitter
from offramp.emit.placeholders import Module
from offramp.emit.state import State
from offramp.emit.tagged_values import TaggedValues
from offramp.emit.target import I8, I32, I64, Native, const
from offramp.emit.values import Values

__all__ = ["build"]


def build(body: Body, *, says: Mapping[Exit, int] | None = None, tag: int | None = None) -> Module[State]:
    """The module.

    `says`: the number for packets that leave by an exit; by default the exit's verdict.

    `tag`: the ethertype and control information of a VLAN tag that is out of band in every packet. The XDP program
    sees frames of some drivers like that. This is for tests, which cannot have such a driver for each case.
    """
    says = {exit: exit.final for exit in body.exits} if says is None else says
    target = Native()
    emit, builder = Emitter(target), target.builder
    packets, captured, lengths, count, verdicts, _ = target.function.args
    loop = emit.label()
    labels = {exit: emit.label() for exit in body.exits}
    decided, done = emit.label(), emit.label()
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
    unreadable = labels[body.exits[-1]]
    values = Values(emit, unreadable) if tag is None else TaggedValues(emit, unreadable, const(tag, I32), (tag >> 16,))
    body.write(values, labels)
    for label in labels.values():
        emit.enter(label)
        emit.goto(decided)
    (verdict,) = emit.merge(decided, [(const(int(says[exit]), I8), label.block) for exit, label in labels.items()])
    builder.store(verdict, builder.gep(verdicts, [index], source_etype=I8))
    following = builder.add(index, const(1))
    index.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_unsigned("==", following, count), done.block, loop.block)
    emit.enter(done)
    builder.ret_void()
    return target.finished()
