# SPDX-License-Identifier: Apache-2.0
"""LLVM IR becomes code. The one step of compiling that is not pure: LLVM runs in a child process.

programs.py  Specs -> Program, Body -> NativeProgram: `xdp`, `native`
child.py     the child process, and the conversation with it
worker.py    the program that runs in it
"""
