# SPDX-License-Identifier: Apache-2.0
"""Specs to programs: emit/ writes their IR, the child process makes machine code of it.

Specs   --xdp()-->    Program(code, sections)     --bpf.Program.load()-->  a program in the kernel
Lowered --native()--> NativeProgram(code, sets)   --_native.Code()-->      a function in this process
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from offramp.emit.program import NativeProgram, Program, Spec
from offramp.emit.size import size, too_deep
from offramp.errors import CompileError, OptionError
from offramp.llvm import child
from offramp.lower.expression import Lowered

__all__ = ["native", "xdp"]

_MOST_SECTIONS: Final = 16  # a program has 64 maps, and 512 bytes of stack
_ALWAYS_FITS: Final = (
    400_000  # characters of IR, 60 or more an instruction; LLVM aborts at branches over more than 32,767
)


def xdp(*specs: Spec) -> Program:
    """Compile one program of these sections. Each packet is shown to one after the other, until one gives it a verdict.
    A section that declines a packet (it is protected there, does not match, its reader sleeps) still counts it. A
    packet that all sections decline passes.

    The same specs give the same bytes; the second time in a process it costs a few milliseconds. Takes some ten
    milliseconds in a child process, and the first time a tenth of a second. Needs no privileges. Errors: CompileError
    (a bug in offramp, or no LLVM); OptionError where the matches are too large for one program.
    """
    child.start()  # beside what follows
    from offramp.emit.xdp import build

    if not 0 < len(specs) <= _MOST_SECTIONS:
        raise OptionError(f"{len(specs)} ramps on one interface", reason=f"not from 1 to {_MOST_SECTIONS}")
    if len({spec.vlan_metadata for spec in specs}) > 1:
        raise OptionError("sections with and without VLAN metadata", reason="a program is bound to its device or not")
    parts = [part for spec in specs for part in spec.parts]
    code = _compile(lambda: build(specs), child.bpf_code, parts, together=len(specs) > 1)
    return Program(code, tuple(sum((part.sets for part in spec.parts), ()) for spec in specs))


def native(match: Lowered) -> NativeProgram:
    """Compile `match` to a function of this process. Cost and errors as of `xdp`; NotSupported on other machines than
    x86-64 and 64-bit Arm, little-endian.
    """
    child.start()
    from offramp.emit.burst import build

    return NativeProgram(_compile(lambda: build(match), child.native_code, [match]), match.sets)


def _compile(
    build: Callable[[], str], compile_text: Callable[[str], bytes], parts: list[Lowered], *, together: bool = False
) -> bytes:
    """Tells a program that is only too large from a bug."""
    try:
        found = size(*parts, together=together)
        found.check()
        text = build()
    except RecursionError as error:
        raise too_deep() from error
    try:
        return compile_text(text)
    except child.DoesNotFit as error:
        raise found.too_large(error.reason) from error
    except CompileError as error:
        if len(text) > _ALWAYS_FITS:
            raise found.too_large() from error
        raise
