# SPDX-License-Identifier: Apache-2.0
"""The kernel's limits for one program: for what it is made from, and for the instructions that result.

Source: kernel/bpf/verifier.c, kernel/bpf/core.c (branch offsets are 16 bits).
"""

from __future__ import annotations

import struct
from typing import Final

from offramp.emit.bytecode import CALL, EXIT, JA, LD_IMM64

__all__ = ["FARTHEST_JUMP", "OPEN_WAYS", "too_much"]

OPEN_WAYS: Final = 8192  # BPF_COMPLEXITY_LIMIT_JMP_SEQ: how many branches the verifier keeps for later
FARTHEST_JUMP: Final = 32_767  # instructions, counted after the kernel has replaced some by more
_STACK = 512  # bytes
_DIVISION, _LONGEST_CALL = 6, 24  # by how many instructions, at most, the kernel replaces one
_FRAME_POINTER = 10  # a register


def too_much(code: bytes) -> str | None:
    """The limit of the verifier that these instructions exceed, in words; None: none. Its errors look like a bug's."""
    instructions = list(struct.iter_unpack("=BBhi", code))
    if _stack_depth(instructions) > _STACK:
        return f"it needs more than {_STACK} bytes of stack"
    if _open_ways(instructions) > OPEN_WAYS:
        return f"it needs more than {OPEN_WAYS} branches in a row"
    if _farthest_jump(instructions) > FARTHEST_JUMP:
        return f"it needs branches over more than {FARTHEST_JUMP} instructions"
    return None


_Instruction = tuple[int, int, int, int]  # opcode, registers, offset, immediate


def _stack_depth(instructions: list[_Instruction]) -> int:
    """How far below its frame pointer a BPF program reads or writes, in bytes."""
    deepest = 0
    for opcode, registers, offset, _ in instructions:  # the second half of an ld_imm64 has opcode 0
        if opcode & 7 in (1, 2, 3):  # LDX, ST, STX
            base = registers >> 4 if opcode & 7 == 1 else registers & 15
            deepest = min(deepest, offset if base == _FRAME_POINTER else 0)
    return -deepest


def _open_ways(instructions: list[_Instruction]) -> int:
    """The most conditional branches that are not taken on any path through the program: the verifier follows that side
    first, and keeps the other for later.
    """
    ways = [0] * (len(instructions) + 1)  # after each instruction: those after it are known first
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
    """How many instructions the farthest branch jumps over, after the kernel has changed the program."""
    places = [0]
    for opcode, *_ in instructions:
        grown = 1
        if opcode == CALL:
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
    if opcode == EXIT:
        return []
    if opcode == JA:
        return [at + 1 + offset]
    if opcode & 7 in (5, 6) and opcode != CALL:  # JMP, JMP32
        return [at + 1, at + 1 + offset]
    return [at + (2 if opcode == LD_IMM64 else 1)]
