# SPDX-License-Identifier: Apache-2.0
"""Input for tests: random and real expressions, packets of every kind, packets that nearly match."""
