"""What must be the same when a run is resumed, and what may differ but should be known."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["describe_environment", "differences", "flatten"]


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping with one level of keys: `{"data": {"sha256": s}}` is `{"data.sha256": s}`."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return `field: was → is` for every field that differs, in the order of `now`."""
    keys = [*now, *(key for key in was if key not in now)]
    return [f"{key}: {_show(was, key)} → {_show(now, key)}" for key in keys if _differ(was, now, key)]


def describe_environment(network: nn.Module) -> dict[str, Any]:
    """Return what the last bits of a result depend on besides configuration and data."""
    parameter = next(network.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "machine": f"{platform.machine()} {model}",
    }


def _differ(was: Mapping[str, Any], now: Mapping[str, Any], key: str) -> bool:
    return (key in was) != (key in now) or was.get(key) != now.get(key)


def _show(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "not there"
    text = str(values[key])
    return text if len(text) <= 40 else f"{text[:37]}..."
