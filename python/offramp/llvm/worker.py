# SPDX-License-Identifier: Apache-2.0
"""The process that LLVM runs in: requests on stdin, answers on stdout, until stdin is closed.

    python -I -S worker.py DIRECTORY_OF_LLVMLITE SECONDS_FOR_A_REQUEST SECONDS_OF_IDLENESS [resting]

After SECONDS_OF_IDLENESS it starts itself anew, `resting`: without LLVM and its memory, until the next request.

    request    u32 length of the triple, u32 length of the text, triple, LLVM IR as text
    answer     u32 status, u32 length, machine code (DONE) or a reason (REFUSED)
Numbers are in host order. LLVM may also abort, or exit, or take too long. Then there is no answer, and LLVM's last
words are on stderr. This file imports nothing of offramp, and only the binding of llvmlite.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import llvmlite.binding as llvm

HEADER = "=II"
DONE, REFUSED = 0, 1
BPF = "bpfel"
UNUSABLE = "LLVM cannot be loaded:"  # the beginning of the last words then

_CLONE_NEWNET = 0x4000_0000
_STACK_TO_TRY = 1 << 15  # LLVM exits if it does not suffice
_LARGE = 100_000  # characters


class Refusal(Exception):
    """Why there is no code."""


def main() -> None:
    directory, seconds, idle, *resting = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for our parent, which then ends us
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if resting and not _something_comes():
        return
    sys.path.append(directory)
    try:
        _prepare()
    except Exception as error:  # there is not enough memory, or llvmlite is broken
        sys.exit(f"{UNUSABLE} {error}")
    visiting = not resting
    while select.select([0], [], [], float(idle))[0]:
        header = _read(struct.calcsize(HEADER))
        if not header:
            return
        signal.alarm(int(seconds))
        triple_length, text_length = struct.unpack(HEADER, header)
        triple, text = _read(triple_length).decode(), _read(text_length).decode()
        try:
            status, answer = DONE, compile_text(triple, text)
        except Refusal as refusal:
            status, answer = REFUSED, str(refusal).encode()
        _write(struct.pack(HEADER, status, len(answer)) + answer)
        signal.alarm(0)
        if visiting:  # only now, because it takes some milliseconds
            _leave_namespace()
            visiting = False
    if visiting:
        _leave_namespace()
    os.execv(sys.executable, [sys.executable, "-I", "-S", *sys.argv[:4], "resting"])


def _something_comes() -> bool:
    """Wait for a request. False if stdin is closed instead."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll())


def _leave_namespace() -> None:
    """Move to an empty namespace. The thread that started us may be a visitor in a network namespace; that namespace
    would live as long as we do. Without CAP_SYS_ADMIN this fails, but then the thread could not have gone there either.
    """
    import ctypes

    ctypes.CDLL(None).unshare(_CLONE_NEWNET)


def _read(size: int) -> bytes:
    """Read this many bytes; empty if stdin is closed now, or before all have come."""
    found = b""
    parts = []
    while size > 0:
        found = os.read(0, min(size, 1 << 20))
        if not found:
            return b""
        parts.append(found)
        size -= len(found)
    return b"".join(parts)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _prepare() -> None:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.set_option("", f"-bpf-stack-size={_STACK_TO_TRY}")


def compile_text(triple: str, text: str) -> bytes:
    """The machine code of the module's only function."""
    import llvmlite.binding as llvm

    target = llvm.Target.from_triple(triple)
    if triple == BPF:  # BPF as of Linux 5.1
        machine = target.create_target_machine(cpu="v3", features="+allows-misaligned-mem-access", opt=2)
    else:  # for any CPU of the architecture
        machine = target.create_target_machine(opt=2, reloc="pic", codemodel="small")
    context = llvm.create_context()
    try:
        module = llvm.parse_assembly(text, context)
        module.verify()
    except RuntimeError as error:
        raise Refusal(str(error)) from error
    module.triple = triple
    passes = llvm.create_new_module_pass_manager()
    _add_passes(passes, large=len(text) > _LARGE)
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    return _text(machine.emit_object(module))


def _add_passes(passes: llvm.ModulePassManager, large: bool) -> None:
    """The passes that help branches over packet bytes.

    They skip what is known since an earlier test, and make one binary search of many comparisons with one value. The
    code is smaller than that of -O2, which takes five times as long to compile a match of 1,800 tests. Value numbering
    is left out where it takes long: its time grows faster than the square of the size.
    """
    passes.add_sroa_pass()
    passes.add_jump_threading_pass()
    passes.add_simplify_cfg_pass()
    if not large:
        passes.add_new_gvn_pass()
        passes.add_jump_threading_pass()
        passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()


def _text(object_file: bytes) -> bytes:
    """The code in the object file; nothing else may be in it."""
    import llvmlite.binding as llvm

    found = {each.name(): each.data() for each in llvm.ObjectFileRef.from_data(object_file).sections() if each.size()}
    unwanted = {name for name in found if name.startswith((b".rel", b".rodata", b".data", b".bss", b".text."))}
    unwanted -= {b".rel.eh_frame", b".rela.eh_frame"}
    if unwanted:
        raise Refusal(f"there is more than code: {sorted(unwanted)}")
    if b".text" not in found:
        raise Refusal("there is no code")
    return bytes(found[b".text"])


if __name__ == "__main__":
    main()
