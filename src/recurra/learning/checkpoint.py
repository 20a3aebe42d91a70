"""All that resuming needs, in one file: a checkpoint is whole or it is not loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recurra.core.errors import CorruptError, MismatchError
from recurra.learning.weights import check_finite, load_tensors, save_tensors

__all__ = [
    "CHECKPOINT_VERSION",
    "Checkpoint",
    "Counters",
    "load_checkpoint",
    "optimizer_tensors",
    "restore_optimizer",
    "restore_rng",
    "restore_weights",
    "rng_tensors",
    "save_checkpoint",
]

CHECKPOINT_VERSION = 1
_PARTS = ("model", "best", "optimizer", "rng", "carried")


@dataclass
class Counters:
    """Where a run stands: plain numbers, exact in JSON."""

    step: int = 0
    """Updates made."""
    epoch: int = 0
    """Epochs finished, so the number that `batches` is called with."""
    batch: int = 0
    """Batches of this epoch that were learned from."""
    tokens: int = 0
    """Tokens learned from since the start."""
    loss_sum: float = 0.0
    """Sum of the training loss over the tokens since the last line of metrics.jsonl, in nats."""
    loss_tokens: int = 0
    """Those tokens."""
    last_norm: float = 0.0
    """Gradient norm of the last step."""
    validated_step: int = -1
    """Step of the last validation."""
    best_step: int = -1
    """Step of the best validation."""
    best_val_loss: float | None = None
    """Its loss, in nats a token."""
    validations_since_best: int = 0
    """What early stopping counts."""
    rate_factor: float = 1.0
    """Factor that the plateau schedule has come to."""
    plateau_best: float | None = None
    """Best loss in the eyes of the plateau schedule, which asks for more than the smallest gain."""
    plateau_waited: int = 0
    """Validations since then."""
    elapsed_seconds: float = 0.0
    """Time spent in training."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint's content. Tensors lie on the CPU; all mappings go from names to tensors."""

    counters: Counters
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    rng: Mapping[str, Tensor]
    carried: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    """Weights of the best validation so far; empty before the first."""
    metrics_bytes: int
    """Length of metrics.jsonl."""
    metrics_sha256: str
    """Checksum of those bytes."""
    fingerprint: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Configuration and data, flat: what must be the same when the run goes on."""
    environment: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Versions, threads, device: where a difference is reported."""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically."""
    tensors = {f"{part}.{name}": tensor for part in _PARTS for name, tensor in getattr(checkpoint, part).items()}
    metadata = {
        "checkpoint_version": CHECKPOINT_VERSION,
        "counters": asdict(checkpoint.counters),
        "metrics_bytes": checkpoint.metrics_bytes,
        "metrics_sha256": checkpoint.metrics_sha256,
        "fingerprint": dict(checkpoint.fingerprint),
        "environment": dict(checkpoint.environment),
    }
    save_tensors(path, tensors, metadata)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises CorruptError if anything in it is not as it was written, NaN weights included."""
    tensors, metadata = load_tensors(path)
    version = metadata.get("checkpoint_version")
    if version != CHECKPOINT_VERSION:
        raise MismatchError(
            f"{path} has checkpoint version {version!r}, this recurra reads {CHECKPOINT_VERSION}: train anew"
        )
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
    for key, tensor in tensors.items():
        part, _, name = key.partition(".")
        if part not in parts or not name:
            raise CorruptError(f"{path} holds an unknown tensor {key[:60]!r}: it is damaged or foreign")
        parts[part][name] = tensor
    check_finite(parts["model"] | parts["best"], str(path))
    entries: dict[str, type] = {
        "metrics_bytes": int, "metrics_sha256": str, "fingerprint": dict, "environment": dict, "counters": dict
    }  # fmt: skip
    for key, kind in entries.items():
        if not isinstance(metadata.get(key), kind):
            raise CorruptError(f"{path} lacks {key!r}: it is damaged or foreign")
    counters = _read_counters(path, metadata["counters"])
    given = {key: metadata[key] for key in entries if key != "counters"}
    return Checkpoint(counters=counters, **parts, **given)


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return an optimizer's memory as `{"<parameter's number>.<name>": tensor}`; its settings come from the options."""
    memory: dict[str, Tensor] = {}
    for number, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                memory[f"{number}.{name}"] = value
    return memory


def restore_optimizer(optimizer: Optimizer, memory: Mapping[str, Tensor]) -> None:
    """Take back what `optimizer_tensors` gave. Raises CorruptError where it does not fit the parameters."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in memory.items():
        number, _, name = key.partition(".")
        if not (number.isdecimal() and int(number) < len(parameters)):
            raise CorruptError(f"the checkpoint has optimizer memory {key[:60]!r} that belongs to no parameter")
        if value.ndim and value.shape != parameters[int(number)].shape:
            raise CorruptError(f"the checkpoint's optimizer memory {key[:60]!r} has the shape of another parameter")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def restore_weights(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Load weights that must fit exactly; `name` is where they are from. Raises MismatchError with the first misfit."""
    own: dict[str, Tensor] = network.state_dict()
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or unknown:
        what = f"lack {missing[0]!r}" if missing else f"hold {unknown[0][:60]!r}, which the network has not"
        raise MismatchError(f"the weights of {name} do not fit the network: they {what}; build it as it was trained")
    for key, tensor in own.items():
        if tensor.shape != weights[key].shape:
            raise MismatchError(
                f"the weights of {name} do not fit the network: {key!r} is {tuple(weights[key].shape)}, "
                f"expected {tuple(tensor.shape)}; build it as it was trained"
            )
    network.load_state_dict(dict(weights))


def rng_tensors() -> dict[str, Tensor]:
    """Return the state of torch's random number generators: the CPU's, and each GPU's that is in use."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states |= {f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_rng(states: Mapping[str, Tensor]) -> None:
    """Take back what `rng_tensors` gave; GPUs that are not there are passed over."""
    for name, state in states.items():
        try:
            if name == "cpu":
                torch.set_rng_state(state)
            elif torch.cuda.is_available() and int(name.removeprefix("cuda.")) < torch.cuda.device_count():
                torch.cuda.set_rng_state(state, int(name.removeprefix("cuda.")))
        except (RuntimeError, TypeError, ValueError) as error:
            raise CorruptError(f"the checkpoint's random state {name[:60]!r} is not one of torch's") from error


def _read_counters(path: Path, content: Mapping[str, Any]) -> Counters:
    kinds: dict[str, Any] = {f.name: f.type for f in fields(Counters)}
    accepts = {"int": (int,), "float": (float, int), "float | None": (float, int, type(None))}
    fits = content.keys() == kinds.keys() and all(
        isinstance(value, accepts[kinds[key]]) and not isinstance(value, bool) for key, value in content.items()
    )
    if not fits or content["step"] < 0 or content["epoch"] < 0 or content["batch"] < 0:
        raise CorruptError(f"the counters in {path} are not recurra's: it is damaged or foreign")
    return Counters(**content)
