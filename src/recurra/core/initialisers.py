"""Initial values for a cell's parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError

__all__ = ["chrono_", "forget_bias_", "orthogonal_gates_", "uniform_"]


def uniform_(parameters: Iterable[Tensor], hidden_size: int) -> None:
    """Fill every tensor from U(-k, k), k = 1 / sqrt(hidden_size): what torch.nn's recurrent layers do."""
    bound = 1.0 / math.sqrt(hidden_size)
    for parameter in parameters:
        nn.init.uniform_(parameter, -bound, bound)


@torch.no_grad()
def orthogonal_gates_(weight: Tensor, gates: int) -> None:
    """Make each gate's square block of a recurrent weight `(gates * H, H)` orthogonal (Saxe et al. 2014).

    An orthogonal block keeps the length of what it multiplies, so that neither states nor gradients
    shrink or grow by the weights alone at the first steps of training.
    """
    for block in weight.chunk(gates, 0):
        nn.init.orthogonal_(block)


@torch.no_grad()
def forget_bias_(module: nn.Module, value: float = 1.0) -> None:
    """Set the bias of every gate that keeps the old state, so that gates begin open: sigmoid(1) = 0.73, not a half.

    module: a cell, or anything with cells or torch's own LSTM or GRU layers in it. A cell says by `Cell.gates` which of
    its gates keep; a gate that replaces (1 - keep) gets -value. Where two bias vectors are added, as in torch, the
    first gets the value and the second zero, so that their *sum* is what was asked for, whatever was there before.

    Source: Gers, Schmidhuber and Cummins, "Learning to forget" (2000); Jozefowicz et al., "An empirical exploration of
    recurrent network architectures" (2015), value 1. Raises ArgumentError where nothing has such a gate.
    """
    for blocks in _gate_biases(module):
        _set_sum(blocks.get("keep"), value)
        _set_sum(blocks.get("replace"), -value)


@torch.no_grad()
def chrono_(module: nn.Module, longest: int) -> None:
    """Set gate biases so that units remember for times spread evenly up to `longest` steps.

        b_keep = log(u),    b_write = b_replace = -b_keep,    u ~ U(1, longest - 1) for each unit

    A gate sigmoid(b) keeps for about 1 + exp(b) steps. As in `forget_bias_`: any module, the sum of two bias vectors is
    what counts, biases of other gates stay. longest: the longest dependency expected, in steps, at least 3.

    Source: Tallec and Ollivier, "Can recurrent neural networks warp time?" (2018), arXiv v1, section 2.
    Raises ArgumentError where nothing has such a gate.
    """
    if longest < 3:
        raise ArgumentError(f"longest must be at least 3 steps, got {longest}")
    for blocks in _gate_biases(module):
        remembering = blocks.get("keep") or blocks["replace"]
        logs = torch.empty_like(remembering[0]).uniform_(1.0, longest - 1.0).log_()
        for gate, sign in (("keep", 1), ("replace", -1), ("write", -1)):
            _set_sum(blocks.get(gate), sign * logs)


def _set_sum(biases: Sequence[Tensor] | None, value: float | Tensor) -> None:
    """Make the sum of some biases a value: the first of them holds it all."""
    for k, bias in enumerate(biases or ()):
        bias[...] = value if k == 0 else 0.0


def _gate_biases(module: nn.Module) -> Iterator[Mapping[str, Sequence[Tensor]]]:
    """Yield for each cell in a module, and each layer and direction of torch's layers, the biases of every gate."""
    found = False
    for part in module.modules():
        gates, groups = _gates_and_biases(part)
        if not {"keep", "replace"} & set(gates):
            continue
        for biases in groups:
            found = True
            chunks = [bias.chunk(len(gates), 0) for bias in biases]
            yield {gate: [c[k] for c in chunks] for k, gate in enumerate(gates)}
    if not found:
        raise ArgumentError(
            f"expected a cell or layer with biases of gates that keep or replace, got {type(module).__name__}: "
            "give a gated cell with bias=True"
        )


_OF_TORCH = {"LSTM": ("write", "keep", "new", "read"), "GRU": ("reset", "keep", "new")}


def _gates_and_biases(part: nn.Module) -> tuple[tuple[str, ...], Sequence[Sequence[Tensor]]]:
    """Return a module's gates, and its bias vectors in groups that are added up."""
    own = dict(part.named_parameters(recurse=False))
    if isinstance(part, nn.RNNBase):
        layers = [name.removeprefix("bias_ih") for name in own if name.startswith("bias_ih")]
        return _OF_TORCH.get(part.mode, ()), [[own[f"bias_ih{k}"], own[f"bias_hh{k}"]] for k in layers]
    gates: tuple[str, ...] = getattr(part, "gates", ())
    biases: list[Tensor] = [value for name, value in own.items() if name in ("bias", "bias_ih", "bias_hh")]
    return gates, [biases] if biases else []
