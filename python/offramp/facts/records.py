# SPDX-License-Identifier: Apache-2.0
"""Capabilities from JSON and TOML: strangers' files, read strictly, and the shipped records of real drivers.

record("ixgbe")          facts/drivers/ixgbe.toml: what is known of a driver, each fact with its source
from_dict(json object)   what `Capabilities.to_dict` made, here or elsewhere
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from offramp.errors import OptionError
from offramp.facts.capabilities import SCHEMA, Capabilities
from offramp.facts.strict import read

__all__ = ["DRIVERS", "from_dict", "record"]

_ALIASES = {"mlx5_core": "mlx5", "virtio_net": "virtio-net"}  # as ethtool -i names them
DRIVERS = ("ena", "gve", "i40e", "ice", "igb", "ixgbe", "mlx5", "veth", "virtio-net")


@cache
def record(driver: str | None) -> Capabilities | None:
    """What is known of a driver, by its name or as `ethtool -i` shows it; None: nothing."""
    name = _ALIASES.get(driver or "", driver)
    if name not in DRIVERS:
        return None
    text = files("offramp.facts").joinpath("drivers", f"{name}.toml").read_text()
    return from_dict(tomllib.loads(text))


def from_dict(value: Mapping[str, object]) -> Capabilities:
    """Errors: OptionError naming the part that is unknown, of the wrong type or of another version."""
    version = value.get("schema")
    if version != SCHEMA:
        raise OptionError(f"capabilities of schema {version!r}", reason=f"this offramp reads {SCHEMA}")
    found = read(Capabilities, {key: part for key, part in value.items() if key != "schema"}, "capabilities")
    assert isinstance(found, Capabilities)
    return found
