# SPDX-License-Identifier: Apache-2.0
"""Tools for tests: traffic, wiretaps, processes to kill, NICs that do not exist, searches for leftovers."""
