# SPDX-License-Identifier: Apache-2.0
"""What tests feed in: random and real expressions, packets of every kind, packets that nearly match."""
