# SPDX-License-Identifier: Apache-2.0
"""What differs between targets. The emitter asks for no more than `Target`; the XDP program also for what only BPF has.

    Target: where the packet begins and ends, as i64 addresses, and `barrier`
      Bpf:  XDP's context, helpers, maps, kernel functions

`barrier` hides from LLVM how a value was made. The verifier needs that: it accepts a load only through the very
register that was compared with data_end before, and with an offset whose range it saw checked, while LLVM knows ways to
compute the same address anew, or to leave out a comparison that always holds. An empty asm statement with its result in
the place of its argument costs no instruction.

All addresses are i64, because the verifier prohibits 32-bit arithmetic on pointers.

Sources: https://docs.kernel.org/bpf/verifier.html (direct packet access), struct xdp_md in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

from llvmlite import ir

from offramp.compile.program import KFUNC_BASE, KfuncSlot, MapSlot

__all__ = ["I8", "I16", "I32", "I64", "POINTER", "Bpf", "Context", "Helper", "Target", "const"]

I8, I16, I32, I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
POINTER = ir.PointerType()


def const(value: int, type: ir.Type = I64) -> ir.Constant:
    return ir.Constant(type, value)


class Target(Protocol):
    """Little-endian machines."""

    function: ir.Function
    builder: ir.IRBuilder
    data: ir.Value  # address of the packet's first byte
    end: ir.Value  # address behind its last

    def barrier(self, value: ir.Value) -> ir.Value:
        """`value`, of whose origin LLVM knows nothing."""


class Context(IntEnum):
    """Offsets in struct xdp_md."""

    DATA = 0
    DATA_END = 4
    RX_QUEUE_INDEX = 16


class Helper(IntEnum):
    """Numbers of the kernel's helper functions."""

    MAP_LOOKUP_ELEM = 1
    XDP_ADJUST_HEAD = 44
    REDIRECT_MAP = 51
    KTIME_GET_COARSE_NS = 160  # Linux 5.11; CLOCK_MONOTONIC at the last tick, 18 ns cheaper than the exact one


_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE = 1, 2


class Bpf:
    """A function `int xdp(struct xdp_md *)` in a module of its own."""

    def __init__(self) -> None:
        self.module = ir.Module(name="offramp")
        self.module.triple = "bpfel"
        self.function = ir.Function(self.module, ir.FunctionType(I32, [POINTER]), "xdp")
        self.function.attributes.add("nounwind")
        # A jump table would be a section of its own, and need a relocation. llvmlite lists no attributes with values.
        set.add(self.function.attributes, '"no-jump-tables"="true"')
        self._pseudo = ir.Function(self.module, ir.FunctionType(I64, [I64, I64]), "llvm.bpf.pseudo")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.find_packet()

    def find_packet(self) -> None:
        """Where the packet is now. To be called again after a helper that moves it."""
        self.data = self.barrier(self.builder.zext(self.context(Context.DATA), I64))
        self.end = self.barrier(self.builder.zext(self.context(Context.DATA_END), I64))

    def barrier(self, value: ir.Value) -> ir.Value:
        signature = ir.FunctionType(value.type, [value.type])
        return self.builder.asm(signature, "", "=r,0", [value], side_effect=True)

    def context(self, field: Context) -> ir.Value:
        """A field of the program's argument."""
        address = self.builder.gep(self.function.args[0], [const(field)], source_etype=I8)
        return self.builder.load(address, typ=I32, align=4)

    def local(self, type: ir.Type) -> ir.Value:
        """The address of a place on the stack. Made in the entry block: elsewhere its size would be dynamic to LLVM."""
        with self.builder.goto_entry_block():
            return self.builder.alloca(type)

    def map(self, slot: MapSlot) -> ir.Value:
        """A placeholder for the map."""
        return self.builder.call(self._pseudo, [const(_PSEUDO_MAP_FD), const(slot)])

    def map_value(self, slot: MapSlot) -> ir.Value:
        """A placeholder for the address of the value of an array map's only element."""
        return self.builder.call(self._pseudo, [const(_PSEUDO_MAP_VALUE), const(slot)])

    def helper(self, number: Helper, *arguments: ir.Value) -> ir.Value:
        return self._call(number, I64, *arguments)

    def kfunc(self, slot: KfuncSlot, *arguments: ir.Value) -> ir.Value:
        """A placeholder for a call of the kernel's function."""
        return self._call(KFUNC_BASE + slot, I32, *arguments)

    def _call(self, number: int, result: ir.Type, *arguments: ir.Value) -> ir.Value:
        signature = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(_Numbered(number, signature), arguments)


class _Numbered(ir.FormattedConstant):  # type: ignore[misc]  # llvmlite is not typed
    """A function that is called by number: BPF's call instruction has nothing else."""

    def __init__(self, number: int, signature: ir.FunctionType) -> None:
        super().__init__(POINTER, f"inttoptr (i64 {number} to ptr)")
        self.function_type = signature
