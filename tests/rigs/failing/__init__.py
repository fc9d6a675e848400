# SPDX-License-Identifier: Apache-2.0
"""Whatever fails while offramp works: each system call in turn, descriptors that run out, memory that runs out.

failing.c        preloaded: lets the Nth call into libc fail
calls.py         this process's side of it: `failing`, `counted`
verbs.py         what is done: each public call, with what comes before and after it
judge.py         whether all is as it should be after each failure
__main__.py      a process that does them again and again, each time with another failure
"""

from __future__ import annotations
