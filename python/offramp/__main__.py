# SPDX-License-Identifier: Apache-2.0
"""`python -m offramp`: the command line, where its script is not in PATH."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """The command line; its exit status. Also of the script `offramp`: Ctrl-C is quiet while it is imported, too."""
    try:
        from offramp.cli import main as run
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
