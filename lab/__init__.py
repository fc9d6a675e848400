# SPDX-License-Identifier: Apache-2.0
"""Laboratories that are larger than a network namespace."""
