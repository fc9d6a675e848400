# SPDX-License-Identifier: Apache-2.0
"""`python -m offramp`: the command line, where its script is not in PATH."""

from __future__ import annotations

import sys

from offramp.cli import main

if __name__ == "__main__":
    sys.exit(main())
