# SPDX-License-Identifier: Apache-2.0
"""Programs in this kernel are loaded, run, or refused by the verifier; nothing is left of them."""

from __future__ import annotations

import errno

import pytest

from offramp.bpf import Program, owner, xdp_context
from offramp.emit.program import MapSlot
from offramp.emit.program import XdpProgram as Code
from offramp.errors import OptionError, VerifierError
from offramp.syscalls import privileges
from tests.rigs.bytecode import DROP, FRAME, NOTHING_IN_R0, PASS, counts, descriptors, load, read_words, returns, words
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.skipif(bool(privileges.missing()), reason=privileges.hint())


def test_a_program_runs_and_counts() -> None:
    with (
        words(2) as array,
        Program.load(Code(counts(1) + returns(DROP)), name="offramp_test", maps={MapSlot.HEARTBEATS: array}) as program,
    ):
        run = program.test_run(FRAME, repeat=7)
        assert (run.retval, run.data) == (DROP, FRAME)
        assert read_words(array) == (0, 7)


def test_live_frames_reach_the_program() -> None:
    with (
        words(2) as array,
        Program.load(Code(counts(0) + returns(DROP)), name="offramp_test", maps={MapSlot.HEARTBEATS: array}) as program,
    ):
        program.test_run(FRAME, repeat=1000, live=True, ctx=xdp_context(len(FRAME)))
        assert read_words(array) == (1000, 0)


def test_what_the_kernel_knows_about_a_program() -> None:
    with load() as program:
        about = program.info()
        assert (about.id, about.name) == (program.id, "offramp_test")
        assert len(about.tag) == 16
        assert owner.program_name(program.id) == "offramp_test"


def test_the_verifier_explains_itself() -> None:
    with pytest.raises(VerifierError, match=r"'offramp_bad'.*R0 !read_ok") as caught:
        Program.load(NOTHING_IN_R0, name="offramp_bad", maps={})
    assert caught.value.errno == errno.EACCES
    assert "processed 1 insns" in caught.value.log
    assert "\n" not in str(caught.value)


def test_an_error_without_a_log() -> None:
    with pytest.raises(OptionError, match="the kernel's verifier gives up"):  # E2BIG, as for one that is too large
        Program.load(Code(b""), name="offramp_none", maps={})


def test_a_thousand_rounds_leave_nothing() -> None:
    def round() -> tuple[int, int]:
        with words(2) as array:
            code = Code(counts(0) + returns(PASS))
            with Program.load(code, name="offramp_test", maps={MapSlot.HEARTBEATS: array}) as program:
                return array.id, program.id

    round()
    before = descriptors()
    made = [round() for _ in range(1000)]
    assert descriptors() == before
    assert len(set(made)) == 1000
    # The kernel frees programs, and with them their hold on maps, a moment later.
    assert eventually(lambda: not any(owner.program_name(program) for _, program in made[-50:]))
