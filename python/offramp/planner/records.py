# SPDX-License-Identifier: Apache-2.0
"""Capabilities from JSON and TOML: strangers' files, read strictly, and the shipped records of real drivers.

record("ixgbe")          planner/drivers/ixgbe.toml: what is known of a driver, each fact with its source
from_dict(json object)   what `Capabilities.to_dict` made, here or elsewhere
"""

from __future__ import annotations

import tomllib
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from offramp.errors import OptionError
from offramp.planner.capabilities import SCHEMA, Capabilities

__all__ = ["DRIVERS", "from_dict", "record"]

_ALIASES = {"mlx5_core": "mlx5", "virtio_net": "virtio-net"}  # as ethtool -i names them
DRIVERS = ("ena", "gve", "i40e", "ice", "igb", "ixgbe", "mlx5", "veth", "virtio-net")


@cache
def record(driver: str | None) -> Capabilities | None:
    """What is known of a driver, by its name or as `ethtool -i` shows it; None: nothing."""
    name = _ALIASES.get(driver or "", driver)
    if name not in DRIVERS:
        return None
    text = files("offramp.planner").joinpath("drivers", f"{name}.toml").read_text()
    return from_dict(tomllib.loads(text))


def from_dict(value: Mapping[str, object]) -> Capabilities:
    """Errors: OptionError naming the part that is unknown, of the wrong type or of another version."""
    version = value.get("schema")
    if version != SCHEMA:
        raise OptionError(f"capabilities of schema {version!r}", reason=f"this offramp reads {SCHEMA}")
    found = _read(Capabilities, {key: part for key, part in value.items() if key != "schema"}, "capabilities")
    assert isinstance(found, Capabilities)
    return found


def _read(wanted: Any, value: Any, where: str) -> Any:
    """`value` as the type `wanted`, which is one that capabilities.py uses."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (each for each in arguments if each is not type(None))
        return _read(inner, value, where)
    if is_dataclass(wanted):
        return _read_dataclass(wanted, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], each, where) for each in value)
    if origin is Mapping and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _read(arguments[1], each, f"{where}.{key}") for key, each in value.items()}
    if (origin is Literal and value in arguments) or type(value) is wanted:
        return value
    expected = " or ".join(map(str, arguments)) if origin is Literal else getattr(wanted, "__name__", str(wanted))
    raise OptionError(f"{where}: {value!r}", reason=f"not {expected}")


def _read_dataclass(wanted: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise OptionError(f"{where}: {value!r}", reason="not an object")
    hints = get_type_hints(wanted)
    names = [each.name for each in fields(wanted)]
    for name in value:
        if name not in names:
            raise OptionError(f"{where}.{name}", reason=f"not one of {', '.join(names)}")
    return wanted(**{name: _read(hints[name], part, f"{where}.{name}") for name, part in value.items()})
