# SPDX-License-Identifier: Apache-2.0
"""The differences between targets. The emitter needs only `Target`; the code around a match needs more.

    Target: where the packet begins and ends, as i64 addresses, its length, state, and what a verifier wants
      Bpf:     XDP's context, helpers, maps, kernel functions
      Native:  a loop over many packets (burst.py), and no verifier to convince

`barrier` hides from LLVM how a value was made. The verifier needs that: it accepts a load only through the very
register that was compared with data_end before, and only with an offset whose range it saw checked. LLVM would compute
the same address anew, or leave out a comparison that always holds. The barrier is an empty asm statement whose result
takes the place of its argument, so it costs no instruction. `fence` hides in the same way that memory has not changed,
so a second load gives a number of its own.

`launder` hides a value from the verifier if it came by several paths, and is a different constant on each of them. The
verifier would otherwise walk through all that follows once for each path.

All addresses are i64, because the verifier prohibits 32-bit arithmetic on pointers.

Sources: https://docs.kernel.org/bpf/verifier.html (direct packet access), struct xdp_md in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

from llvmlite import ir

from offramp.emit.bytecode import PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, Helper
from offramp.emit.placeholders import KFUNC_BASE, KfuncSlot, MapSlot, Module, Reference
from offramp.emit.state import State

__all__ = ["I8", "I16", "I32", "I64", "POINTER", "Bpf", "Context", "Native", "Target", "const"]

I8, I16, I32, I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
POINTER = ir.PointerType()


def const(value: int, type: ir.Type = I64) -> ir.Constant:
    return ir.Constant(type, value)


class Target(Protocol):
    """A little-endian machine of 64 bits."""

    function: ir.Function
    builder: ir.IRBuilder
    data: ir.Value  # the address of the packet's first byte
    end: ir.Value  # the address after its last byte
    farthest: int | None  # no packet has a byte this far from its first; None: there is no limit

    def length(self) -> ir.Value:
        """The packet's length on the wire, i32."""

    def beyond(self, address: ir.Value, size: int) -> ir.Value:
        """Whether `size` bytes from `address` on are not all inside the packet, i1."""

    def memory(self, state: State) -> ir.Value:
        """The address of the memory of a piece of state, i64."""

    def barrier(self, value: ir.Value) -> ir.Value:
        """`value`, in a form of whose origin LLVM knows nothing."""

    def fence(self) -> None:
        """From here on LLVM knows nothing of what is in memory."""

    def launder(self, value: ir.Value, mask: int) -> ir.Value:
        """`value`, i64; the verifier knows only that it has no bits outside of `mask`."""


class Context(IntEnum):
    """Offsets in struct xdp_md."""

    DATA = 0
    DATA_END = 4
    RX_QUEUE_INDEX = 16


def _function(name: str, signature: ir.FunctionType) -> ir.Function:
    module = ir.Module(name="offramp")
    function = ir.Function(module, signature, name)
    function.attributes.add("nounwind")
    # A jump table would be a section of its own, and need a relocation. llvmlite does not know attributes with values.
    set.add(function.attributes, '"no-jump-tables"="true"')
    return function


class Bpf:
    """A function `int xdp(struct xdp_md *)` in a module of its own."""

    section = 0  # the section whose maps and state are meant by what is written now
    farthest: int | None = 0xFF00  # the verifier follows packet pointers up to 0xffff, variable offsets included

    def __init__(self) -> None:
        self._references: dict[Reference, int] = {}
        self.function = _function("xdp", ir.FunctionType(I32, [POINTER]))
        self.module = self.function.module
        self.module.triple = "bpfel"
        self._pseudo = ir.Function(self.module, ir.FunctionType(I64, [I64, I64]), "llvm.bpf.pseudo")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.find_packet()

    def find_packet(self) -> None:
        """Find where the packet is now. Has to be called again after a helper that moves it."""
        self.data = self.barrier(self.builder.zext(self.context(Context.DATA), I64))
        self.end = self.barrier(self.builder.zext(self.context(Context.DATA_END), I64))

    def length(self) -> ir.Value:
        return self.builder.trunc(self._length(), I32)

    def beyond(self, address: ir.Value, size: int) -> ir.Value:
        return self.builder.icmp_unsigned(">", self.builder.add(address, const(size)), self.end)

    def memory(self, state: State) -> ir.Value:
        return self._reference(PSEUDO_MAP_VALUE, state)

    def barrier(self, value: ir.Value) -> ir.Value:
        signature = ir.FunctionType(value.type, [value.type])
        return self.builder.asm(signature, "", "=r,0", [value], side_effect=True)

    def fence(self) -> None:
        self.builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], side_effect=True)

    def launder(self, value: ir.Value, mask: int) -> ir.Value:
        noise = self._length()  # any number that the verifier does not know
        value = self.barrier(self.builder.add(value, noise))
        value = self.barrier(self.builder.sub(value, noise))
        return self.builder.and_(value, const(mask))

    def _length(self) -> ir.Value:
        return self.barrier(self.builder.sub(self.end, self.data))

    def context(self, field: Context) -> ir.Value:
        """A field of the program's argument."""
        address = self.builder.gep(self.function.args[0], [const(field)], source_etype=I8)
        return self.builder.load(address, typ=I32, align=4)

    def local(self, type: ir.Type) -> ir.Value:
        """The address of a place on the stack. Made in the entry block: elsewhere LLVM would see a dynamic size."""
        with self.builder.goto_entry_block():
            return self.builder.alloca(type)

    def map(self, slot: MapSlot) -> ir.Value:
        """A placeholder for the map of this section."""
        return self._reference(PSEUDO_MAP_FD, slot)

    def map_value(self, slot: MapSlot) -> ir.Value:
        """A placeholder for the address of the value of an array map's only element."""
        return self._reference(PSEUDO_MAP_VALUE, slot)

    def _reference(self, pseudo: int, what: MapSlot | State) -> ir.Value:
        number = self._references.setdefault(Reference(self.section, what), len(self._references))
        return self.builder.call(self._pseudo, [const(pseudo), const(number)])

    def finished(self) -> Module[Reference]:
        """The module that has been written."""
        return Module(str(self.module), tuple(self._references))

    def helper(self, number: Helper, *arguments: ir.Value) -> ir.Value:
        return self._call(number, I64, *arguments)

    def kfunc(self, slot: KfuncSlot, *arguments: ir.Value) -> ir.Value:
        """A placeholder for a call of the kernel function."""
        return self._call(KFUNC_BASE + slot, I32, *arguments)

    def _call(self, number: int, result: ir.Type, *arguments: ir.Value) -> ir.Value:
        signature = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(_Numbered(number, signature), arguments)


class Native:
    """A function of the form that program.py describes, in a module of its own. burst.py sets the current packet."""

    farthest: int | None = None

    data: ir.Value
    end: ir.Value
    captured: ir.Value  # end - data
    on_wire: ir.Value

    def __init__(self) -> None:
        pointers = [POINTER] * 3
        self.function = _function("run", ir.FunctionType(ir.VoidType(), [*pointers, I64, POINTER, POINTER]))
        self.module = self.function.module
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self._memories: dict[State, ir.Value] = {}

    def length(self) -> ir.Value:
        return self.on_wire

    def beyond(self, address: ir.Value, size: int) -> ir.Value:
        if address is self.data:
            return self.builder.icmp_unsigned("<", self.captured, const(size))
        return self.builder.icmp_unsigned(">", self.builder.add(address, const(size)), self.end)

    def memory(self, state: State) -> ir.Value:
        """The memory's address, loaded once, before the first packet."""
        if state not in self._memories:
            with self.builder.goto_entry_block():
                place = self.builder.gep(self.function.args[5], [const(len(self._memories))], source_etype=POINTER)
                self._memories[state] = self.builder.load(place, typ=I64)
        return self._memories[state]

    def finished(self) -> Module[State]:
        """The module that has been written."""
        return Module(str(self.module), tuple(self._memories))

    def barrier(self, value: ir.Value) -> ir.Value:
        return value

    def fence(self) -> None:
        pass

    def launder(self, value: ir.Value, mask: int) -> ir.Value:
        return value


class _Numbered(ir.FormattedConstant):  # type: ignore[misc]  # llvmlite is not typed
    """A function that is called by its number: BPF's call instruction has nothing else."""

    def __init__(self, number: int, signature: ir.FunctionType) -> None:
        super().__init__(POINTER, f"inttoptr (i64 {number} to ptr)")
        self.function_type = signature
