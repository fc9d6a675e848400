# SPDX-License-Identifier: Apache-2.0
"""What tests work with: traffic, wiretaps, processes to be killed, NICs that are not there, searches for leftovers."""
