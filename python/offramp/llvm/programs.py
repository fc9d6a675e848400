# SPDX-License-Identifier: Apache-2.0
"""Specs to programs: emit/ writes their IR, the child process makes machine code of it. See emit/program.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Final, TypeVar

from offramp.emit.body import Body, Exit
from offramp.emit.placeholders import Module
from offramp.emit.program import NativeProgram, Spec, XdpProgram
from offramp.emit.size import Size, too_deep, total
from offramp.errors import CompileError, OptionError
from offramp.llvm import child

__all__ = ["native", "xdp"]

_MOST_SECTIONS: Final = 16  # a program has 64 maps, and 512 bytes of stack
_ALWAYS_FITS: Final = 400_000  # characters of IR, 60 or more an instruction; LLVM aborts at longer jumps than 32,767
_FEW_TESTS, _REMEMBERED = 128, 32  # 50 KB, and so many programs

_Reference = TypeVar("_Reference")


def xdp(*specs: Spec) -> XdpProgram:
    """Compile one program of these sections. Each packet goes from one to the next, until one gives it a verdict. A
    section that declines a packet (it is protected there, does not match, its reader sleeps) still counts it. A packet
    that all sections decline passes.

    It takes some ten milliseconds in a child process, a tenth of a second the first time in a process. The same specs
    give the same bytes. They cost next to nothing then, or, with sets or many tests, a few milliseconds. It needs no
    privileges. Errors: CompileError (a bug in offramp, or no LLVM); OptionError if the matches are too large for one
    program.
    """
    if not 0 < len(specs) <= _MOST_SECTIONS:
        raise OptionError(f"{len(specs)} ramps on one interface", reason=f"not from 1 to {_MOST_SECTIONS}")
    if len({spec.vlan_metadata for spec in specs}) > 1:
        raise OptionError("sections with and without VLAN metadata", reason="a program is bound to its device, or not")

    size = _measured(lambda: total(*(spec.size for spec in specs), together=len(specs) > 1))
    if size.tests <= _FEW_TESTS and not size.state:
        with suppress(RecursionError):  # hashing and comparing go deeper than compiling
            return _small_xdp(specs, size)
    return _xdp(specs, size)


def _xdp(specs: tuple[Spec, ...], size: Size) -> XdpProgram:
    child.start()  # it starts while the IR is made
    from offramp.emit.xdp import build

    return XdpProgram(*_compile(size, lambda: build(specs), child.bpf_code))


_small_xdp: Final = lru_cache(_REMEMBERED)(_xdp)  # equal specs write equal text: emit/body.py


def native(body: Body, says: Mapping[Exit, int] | None = None) -> NativeProgram:
    """Compile `body` to a function of this process. For each packet it gives a number for the exit by which it leaves:
    the one in `says`, or its verdict. Cost and errors as for `xdp`; NotSupported on machines other than x86-64 and
    64-bit Arm, little-endian.
    """
    child.start()
    from offramp.emit.burst import build

    size = _measured(lambda: body.size)
    return NativeProgram(*_compile(size, lambda: build(body, says=says), child.native_code))


def _measured(measure: Callable[[], Size]) -> Size:
    """The size. Errors: OptionError if it can never fit."""
    try:
        size = measure()
    except RecursionError as error:
        raise too_deep() from error
    size.check()
    return size


def _compile(
    size: Size, build: Callable[[], Module[_Reference]], compile_text: Callable[[str], bytes]
) -> tuple[bytes, tuple[_Reference, ...]]:
    """The code, and what its placeholders stand for. Tells a program that is only too large from a bug."""
    try:
        module = build()
    except RecursionError as error:
        raise too_deep() from error
    try:
        return compile_text(module.text), module.references
    except child.DoesNotFit as error:
        raise size.too_large(error.reason) from error
    except CompileError as error:
        if len(module.text) > _ALWAYS_FITS:
            raise size.too_large() from error
        raise
