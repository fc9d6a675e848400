# SPDX-License-Identifier: Apache-2.0
"""`python -m offramp`: the command line, where its script is not in PATH."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]


def main() -> int:
    """The command line; its exit status. Also of the script `offramp`: Ctrl-C is quiet at any moment."""
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))  # nothing is done yet; see cli/interrupts.py
    try:
        from offramp.cli import main as run
        from offramp.cli.interrupts import over

        status = run()
        over()
        return status
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
