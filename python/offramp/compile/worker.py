# SPDX-License-Identifier: Apache-2.0
"""The process that LLVM runs in: IR text on stdin, eBPF instructions on stdout, exit status 0. Else a reason on stderr.

    python -I -S worker.py DIRECTORY_OF_LLVMLITE SECONDS

Imports nothing of offramp, and of llvmlite only the binding. Standard output carries the code and nothing else.
"""

from __future__ import annotations

import signal
import sys


def main() -> None:
    directory, seconds = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.alarm(int(seconds))
    sys.path.append(directory)
    sys.stdout.buffer.write(bpf(sys.stdin.buffer.read().decode()))


def bpf(text: str) -> bytes:
    """The module's code, for BPF as of Linux 5.1 (v3).

    The passes are what branches over packet bytes gain from: they skip what is known since an earlier test, and make
    one binary search of many comparisons with one value. The code is smaller than that of -O2, with which a match of
    1,800 tests takes five times as long to compile.
    """
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("bpfel").create_target_machine(
        cpu="v3", features="+allows-misaligned-mem-access", opt=2
    )
    module = llvm.parse_assembly(text)
    module.verify()
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_jump_threading_pass()
    passes.add_simplify_cfg_pass()
    passes.add_new_gvn_pass()
    passes.add_jump_threading_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    sections = {
        section.name(): section.data()
        for section in llvm.ObjectFileRef.from_data(machine.emit_object(module)).sections()
    }
    if b".rel.text" in sections:
        sys.exit("the code has relocations")
    return bytes(sections[b".text"])


if __name__ == "__main__":
    main()
