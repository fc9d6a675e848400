# SPDX-License-Identifier: Apache-2.0
"""Programs that only look up: in eBPF, in packets that are lists of keys; in native code, in arrays.

    with Lookups([table]) as lookups:                a packet has one key for each table
        lookups.run([key]) -> [True]                 the verdict's bits
        lookups.counted() -> (1, 1)                  packets, and those whose verdict was none that they allow
    Native(shape)(address, keys) -> array of bool

Native code is made and run in this process.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Collection, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, cast

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from offramp.bpf import Map, MapType, Program, Scope, bind
from offramp.emit.emitter import Address, Emitter
from offramp.emit.program import MapSlot
from offramp.emit.program import XdpProgram as CompiledProgram
from offramp.emit.sets.lookup import member, snapshot
from offramp.emit.state import State
from offramp.emit.target import I8, I32, I64, POINTER, Bpf, Target, const
from offramp.llvm.child import bpf_code
from offramp.lower.expression import Named
from offramp.lower.shapes import KEY_WORDS, Shape
from offramp.state import SharedSet

REPORT = MapSlot.COUNTERS  # two numbers: packets, and those whose verdict was none of the two that they allow
HEAD = 14  # bytes of a packet before the keys: two verdicts, and nothing


def words(shape: Shape, key: int) -> list[int]:
    """A key in the form that lookups take."""
    return [key >> 32 * place & 0xFFFF_FFFF for place in reversed(range(KEY_WORDS[shape.family]))]


def compiled(shapes: Sequence[Shape], *, together: bool = False) -> CompiledProgram:
    """An XDP program whose verdict has bit i set if set i, which is named i, contains key i of the packet.

    It counts packets, and those whose verdict is neither of the two that they begin with. `together`: the sets are one
    set, and all look-ups see it at the same moment.
    """
    target = Bpf()
    emit, builder = Emitter(target), target.builder
    reject = emit.label()
    result = target.local(I32)
    builder.store(const(0, I32), result)
    packet = Address(target.data, HEAD)
    size = 4 * sum(KEY_WORDS[shape.family] for shape in shapes)
    emit.require(packet, size, reject)
    current = None
    for number, shape in enumerate(shapes):
        base = target.memory(Named("0" if together else str(number), shape))
        if together and current is None:
            current = snapshot(emit, shape, base)
        key = []
        for _ in range(KEY_WORDS[shape.family]):
            key.append(emit.load(packet, 4, reject))
            packet = packet + 4
        yes, no, after = emit.label(), emit.label(), emit.label()
        member(emit, shape, base, key, yes, no, current)
        emit.enter(yes)
        builder.store(builder.or_(builder.load(result, typ=I32), const(1 << number, I32)), result)
        emit.goto(after)
        emit.enter(no)
        emit.goto(after)
        emit.enter(after)
    verdict = builder.load(result, typ=I32)
    allowed = [emit.load(Address(target.data, offset), 4, reject) for offset in (0, 4)]
    wrong = [builder.icmp_unsigned("!=", verdict, one) for one in allowed]
    for offset, add in ((0, const(1)), (8, builder.zext(builder.and_(*wrong), I64))):
        report = builder.add(target.map_value(REPORT), const(offset))
        builder.atomic_rmw("add", builder.inttoptr(report, POINTER), add, "monotonic")
    builder.ret(verdict)
    emit.enter(reject)
    builder.ret(const(0xFFFF_FFFF, I32))
    module = target.finished()
    return CompiledProgram(bpf_code(module.text), module.references)


class Lookups:
    """Such a program in the kernel."""

    def __init__(self, tables: Sequence[SharedSet], *, together: bool = False) -> None:
        self.shapes = [table.shape for table in tables]
        self.report = Map.create(MapType.ARRAY, 4, 16, 1, name="offramp_report")
        program = compiled(self.shapes, together=together)
        named: dict[State, SharedSet] = {Named(str(number), table.shape): table for number, table in enumerate(tables)}
        with bind(program, Scope({REPORT: self.report}, named.__getitem__)) as maps:
            self.program = Program.load(program, name="offramp_lookup", maps=maps)

    def packet(self, keys: Iterable[int], allowed: Collection[int] = (0,)) -> bytes:
        """A packet of these keys that allows one or two verdicts."""
        numbers = [word for shape, key in zip(self.shapes, keys, strict=True) for word in words(shape, key)]
        verdicts = struct.pack(">II", min(allowed), max(allowed))
        return verdicts.ljust(HEAD, b"\0") + struct.pack(f">{len(numbers)}I", *numbers)

    def counted(self) -> tuple[int, int]:
        """The packets so far, and those whose verdict was not one that they allow."""
        packets, wrong = struct.unpack("QQ", self.report.lookup(bytes(4)))
        return packets, wrong

    def run(self, keys: Sequence[int]) -> list[bool]:
        verdict = self.program.test_run(self.packet(keys)).retval
        return [bool(verdict >> number & 1) for number in range(len(keys))]

    def contains(self, key: int) -> bool:
        """Whether the only set contains the key."""
        return self.run([key])[0]

    def duration(self, keys: Sequence[int], repeat: int = 2_000_000) -> int:
        """The time for one packet, in ns."""
        return self.program.test_run(self.packet(keys), repeat=repeat).duration_ns

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.program.close()
        self.report.close()


class _Machine:
    """What `member` asks of a target, for this machine's code: a loop over `count` keys."""

    def __init__(self, width: int) -> None:
        self.module = ir.Module(name="lookups")
        signature = ir.FunctionType(ir.VoidType(), [I64, POINTER, I64, POINTER])
        self.function = ir.Function(self.module, signature, "run")
        self.base, self.keys, self.count, self.found = self.function.args
        entry = self.function.append_basic_block("entry")
        self.builder = ir.IRBuilder(entry)
        loop = self.function.append_basic_block("loop")
        self.builder.branch(loop)
        self.builder.position_at_end(loop)
        self.place = self.builder.phi(I64)
        self.place.add_incoming(const(0), entry)
        self.loop = loop
        first = self.builder.mul(self.place, const(width))
        self.key = [
            self.builder.load(
                self.builder.gep(self.keys, [self.builder.add(first, const(word))], source_etype=I32), typ=I32
            )
            for word in range(width)
        ]

    def barrier(self, value: ir.Value) -> ir.Value:
        return value

    def fence(self) -> None:
        pass


class Native:
    """Look-ups in sets of one shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.width = KEY_WORDS[shape.family]
        machine = _Machine(self.width)
        emit, builder = Emitter(cast(Target, machine)), machine.builder
        yes, no, after = emit.label(), emit.label(), emit.label()
        member(emit, shape, machine.base, machine.key, yes, no)
        emit.enter(yes)
        emit.goto(after)
        emit.enter(no)
        emit.goto(after)
        emit.enter(after)
        answer = builder.phi(I8)
        answer.add_incoming(const(1, I8), yes.block)
        answer.add_incoming(const(0, I8), no.block)
        builder.store(answer, builder.gep(machine.found, [machine.place], source_etype=I8))
        following = builder.add(machine.place, const(1))
        machine.place.add_incoming(following, builder.block)
        done = machine.function.append_basic_block("done")
        builder.cbranch(builder.icmp_unsigned("<", following, machine.count), machine.loop, done)
        builder.position_at_end(done)
        builder.ret_void()
        self._engine, self._run = _compiled(str(machine.module))

    def keys(self, keys: Iterable[int]) -> NDArray[np.uint32]:
        return np.array([words(self.shape, key) for key in keys], np.uint32).reshape(-1, self.width)

    def __call__(self, address: int, keys: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Which of `keys` (uint32[n, words]) are in the set whose memory is at `address`. Releases the GIL."""
        found = np.empty(len(keys), np.uint8)
        if len(keys):
            self._run(address, keys.ctypes.data, len(keys), found.ctypes.data)
        return found.view(np.bool_)


def _compiled(text: str) -> tuple[Any, Any]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2)
    module = llvm.parse_assembly(text)
    module.verify()
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_jump_threading_pass()
    passes.add_new_gvn_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p)
    return engine, kind(engine.get_function_address("run"))
