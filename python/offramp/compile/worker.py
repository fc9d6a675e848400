# SPDX-License-Identifier: Apache-2.0
"""The process that LLVM runs in: requests on stdin, answers on stdout, until stdin is closed.

    python -I -S worker.py DIRECTORY_OF_LLVMLITE SECONDS_FOR_A_REQUEST SECONDS_OF_IDLENESS [resting]

After SECONDS_OF_IDLENESS it starts itself anew, `resting`: without LLVM and its memory, until there is a request again.

    request    u32 length of the triple, u32 length of the text, triple, LLVM IR as text
    answer     u32 status, u32 length, machine code (DONE) or a reason (REFUSED, DOES_NOT_FIT)

Numbers are in host order. LLVM may also abort, or exit, or take too long: then there is no answer, and what it says of
that is on stderr. Imports nothing of offramp, and of llvmlite only the binding.
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
DONE, REFUSED, DOES_NOT_FIT = 0, 1, 2
BPF = "bpfel"

_CLONE_NEWNET = 0x4000_0000
_STACK = 512  # bytes that a BPF program has
_STACK_TO_TRY = 1 << 15  # LLVM exits where it does not suffice
_OPEN_WAYS = 8192  # BPF_COMPLEXITY_LIMIT_JMP_SEQ: so many branches the verifier comes back to later
_FARTHEST_JUMP = 32_767  # instructions, also when the kernel has put more in their place
_DIVISION, _LONGEST_CALL = 6, 24  # by how many at most it replaces one
_LD_IMM64, _JA, _CALL, _EXIT, _FRAME_POINTER = 0x18, 0x05, 0x85, 0x95, 10
_LARGE = 100_000  # characters


class Refusal(Exception):
    """Why there is no code."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


def main() -> None:
    directory, seconds, idle, *resting = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever types Ctrl-C means our parent, which then ends us
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if resting and not _something_comes():
        return
    sys.path.append(directory)
    _prepare()
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
            status, answer = refusal.status, str(refusal).encode()
        _write(struct.pack(HEADER, status, len(answer)) + answer)
        signal.alarm(0)
        if visiting:  # only now: it takes some milliseconds
            _leave_namespace()
            visiting = False
    if visiting:
        _leave_namespace()
    os.execv(sys.executable, [sys.executable, "-I", "-S", *sys.argv[:4], "resting"])


def _something_comes() -> bool:
    """A request, whenever it is; False if stdin is closed instead."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll())


def _leave_namespace() -> None:
    """For an empty one. The thread that started us may be a visitor in a network namespace, and that would live for as
    long as we do. Whoever may not do this (CAP_SYS_ADMIN) could not have gone visiting, either.
    """
    import ctypes

    ctypes.CDLL(None).unshare(_CLONE_NEWNET)


def _read(size: int) -> bytes:
    """As many bytes; none if stdin is closed, by now or before all have come."""
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
    else:  # any CPU of the architecture
        machine = target.create_target_machine(opt=2, reloc="pic", codemodel="small")
    context = llvm.create_context()
    try:
        module = llvm.parse_assembly(text, context)
        module.verify()
    except RuntimeError as error:
        raise Refusal(REFUSED, str(error)) from error
    module.triple = triple
    passes = llvm.create_new_module_pass_manager()
    _add_passes(passes, large=len(text) > _LARGE)
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    code = _text(machine.emit_object(module))
    if triple == BPF:
        _check_limits(code)
    return code


def _add_passes(passes: llvm.ModulePassManager, large: bool) -> None:
    """What branches over packet bytes gain from.

    These passes skip what is known since an earlier test, and make one binary search of many comparisons with one
    value. The code is smaller than that of -O2, with which a match of 1,800 tests takes five times as long to compile.
    Value numbering is left out where it takes long: its time grows faster than the square of the size.
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
    """The code in it, which has to be all that there is."""
    import llvmlite.binding as llvm

    found = {each.name(): each.data() for each in llvm.ObjectFileRef.from_data(object_file).sections() if each.size()}
    unwanted = {name for name in found if name.startswith((b".rel", b".rodata", b".data", b".bss", b".text."))}
    unwanted -= {b".rel.eh_frame", b".rela.eh_frame"}
    if unwanted:
        raise Refusal(REFUSED, f"the code is not alone: {sorted(unwanted)}")
    if b".text" not in found:
        raise Refusal(REFUSED, "there is no code")
    return bytes(found[b".text"])


def _check_limits(code: bytes) -> None:
    """The verifier's limits, which it would name without telling them from a bug."""
    instructions = list(struct.iter_unpack("=BBhi", code))
    if _stack_depth(instructions) > _STACK:
        raise Refusal(DOES_NOT_FIT, f"it needs more than {_STACK} bytes of stack")
    if _open_ways(instructions) > _OPEN_WAYS:
        raise Refusal(DOES_NOT_FIT, f"it needs more than {_OPEN_WAYS} branches in a row")
    if _farthest_jump(instructions) > _FARTHEST_JUMP:
        raise Refusal(DOES_NOT_FIT, f"it needs branches over more than {_FARTHEST_JUMP} instructions")


_Instruction = tuple[int, int, int, int]  # opcode, registers, offset, immediate


def _stack_depth(instructions: list[_Instruction]) -> int:
    """How far below its frame pointer a BPF program reads or writes."""
    deepest = 0
    for opcode, registers, offset, _ in instructions:  # the second half of an ld_imm64 has opcode 0
        if opcode & 7 in (1, 2, 3):  # LDX, ST, STX
            base = registers >> 4 if opcode & 7 == 1 else registers & 15
            deepest = min(deepest, offset if base == _FRAME_POINTER else 0)
    return -deepest


def _open_ways(instructions: list[_Instruction]) -> int:
    """The most conditional branches on a way through the program that are not taken: the verifier follows that side
    first, and keeps the other for later.
    """
    ways = [0] * (len(instructions) + 1)  # behind each instruction; the whole way is known once those behind are
    unfinished = [0]
    known = [False] * len(instructions)
    entered = [False] * len(instructions)
    while unfinished:
        at = unfinished[-1]
        following = _following(instructions, at)
        if not entered[at]:
            entered[at] = True
            unfinished += [other for other in following if not entered[other]]
            continue
        unfinished.pop()
        if not known[at]:
            known[at] = True
            branches = len(following) > 1
            ways[at] = max((ways[other] + (branches and other == at + 1) for other in following), default=0)
    return ways[0]


def _farthest_jump(instructions: list[_Instruction]) -> int:
    """Over how many instructions a branch goes in what the kernel makes of the program."""
    places = [0]
    for opcode, *_ in instructions:
        grown = 1
        if opcode == _CALL:
            grown = _LONGEST_CALL
        elif opcode & 7 in (4, 7) and opcode & 0xF0 in (0x30, 0x90):  # ALU, ALU64; DIV, MOD
            grown = _DIVISION
        places.append(places[-1] + grown)
    return max(
        (abs(places[other] - places[at]) for at in range(len(instructions)) for other in _following(instructions, at)),
        default=0,
    )


def _following(instructions: list[_Instruction], at: int) -> list[int]:
    opcode, _, offset, _ = instructions[at]
    if opcode == _EXIT:
        return []
    if opcode == _JA:
        return [at + 1 + offset]
    if opcode & 7 in (5, 6) and opcode != _CALL:  # JMP, JMP32
        return [at + 1, at + 1 + offset]
    return [at + (2 if opcode == _LD_IMM64 else 1)]


if __name__ == "__main__":
    main()
