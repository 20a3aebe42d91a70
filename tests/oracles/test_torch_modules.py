"""torch's own module database, run against our RNN, GRU and LSTM: outputs, states, gradients, errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
from torch.utils import _pytree as pytree

import recurra

OURS = {nn.RNN: recurra.RNN, nn.GRU: recurra.GRU, nn.LSTM: recurra.LSTM}
# torch tells about itself that it takes its slower way.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")
INFOS = {info.module_cls: info for info in module_db if info.module_cls in OURS}


class Sample(NamedTuple):
    """One entry of the database."""

    theirs: type[nn.Module]
    constructor: Any
    arguments: Any
    dtype: torch.dtype
    training: bool


def _samples() -> Iterator[Any]:
    torch.manual_seed(0)
    for theirs, info in INFOS.items():
        for dtype in (torch.float64, torch.float32):
            for training in (False, True):
                found = info.module_inputs_func(
                    info, device="cpu", dtype=dtype, requires_grad=True, training=training, with_packed_sequence=True
                )
                for k, entry in enumerate(found):
                    sample = Sample(theirs, entry.constructor_input, entry.forward_input, dtype, training)
                    name = f"{theirs.__name__}-{k}-{str(dtype)[6:]}-{'train' if training else 'eval'}"
                    yield pytest.param(sample, id=name)


SAMPLES = list(_samples())


def test_the_database_is_as_large_as_it_was() -> None:
    per_setting = [p.values[0] for p in SAMPLES if p.values[0].dtype == torch.float64 and not p.values[0].training]
    assert len(per_setting) >= 80
    packed = [s for s in per_setting if isinstance(s.arguments.args[0], PackedSequence)]
    assert len(packed) >= 48


@pytest.mark.parametrize("sample", SAMPLES)
def test_equals_torch(sample: Sample) -> None:
    torch.manual_seed(0)
    theirs = sample.theirs(*sample.constructor.args, **sample.constructor.kwargs, dtype=sample.dtype)
    torch.manual_seed(0)
    ours = OURS[sample.theirs](*sample.constructor.args, **sample.constructor.kwargs, dtype=sample.dtype)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    expected, got = _outcome(sample, theirs, sample.dtype), _outcome(sample, ours, sample.dtype)
    assert pytree.tree_structure(got) == pytree.tree_structure(expected)
    if sample.dtype == torch.float64:
        torch.testing.assert_close(got, expected)
        return
    # Gradients are sums whose terms may cancel: what counts is how far each is from the exact value. Torch's own are up
    # to 53 epsilon of the largest entry away from it in these samples, so 32 more are within what float32 can promise.
    truth = _outcome(sample, theirs.double(), torch.float64)
    for g, e, t in zip(pytree.tree_leaves(got), pytree.tree_leaves(expected), pytree.tree_leaves(truth), strict=True):
        if isinstance(e, Tensor) and e.is_floating_point():
            assert g.shape == e.shape
            assert g.dtype == e.dtype
            floor = 32 * torch.finfo(e.dtype).eps * float(t.detach().abs().max()) if t.numel() else 0.0
            assert _distance(g, t) <= 2 * _distance(e, t) + floor
        else:
            assert torch.equal(g, e) if isinstance(e, Tensor) else g == e


def _distance(v: Tensor, truth: Tensor) -> float:
    return float((v.double() - truth).detach().abs().max()) if v.numel() else 0.0


def _outcome(sample: Sample, module: nn.Module, dtype: torch.dtype) -> Any:
    """Return outputs, final states, and every gradient: by the input, the initial states, and the weights."""
    module.train(sample.training)
    leaves: list[Tensor] = []
    args = _prepare(tuple(sample.arguments.args), dtype, leaves)
    results = module(*args, **sample.arguments.kwargs)
    leaves += list(module.parameters())
    tensors = [v for v in pytree.tree_leaves(results) if isinstance(v, Tensor) and v.requires_grad]
    loss = torch.stack([(v * torch.linspace(0.5, 1.5, v.numel(), dtype=v.dtype).view(v.shape)).sum() for v in tensors])
    grads = torch.autograd.grad(loss.sum(), leaves)
    return results, list(grads)


def _prepare(value: Any, dtype: torch.dtype, leaves: list[Tensor]) -> Any:
    """Copy the arguments in a dtype, and note every tensor that gets a gradient."""
    if isinstance(value, PackedSequence):
        return PackedSequence(_prepare(value.data, dtype, leaves), *value[1:])
    if isinstance(value, tuple):
        return tuple(_prepare(v, dtype, leaves) for v in value)
    if isinstance(value, Tensor):
        leaves.append(value.detach().to(dtype, copy=True).requires_grad_())
        return leaves[-1]
    return value


def _errors() -> Iterator[Any]:
    for theirs, info in INFOS.items():
        found = info.module_error_inputs_func(
            info, device="cpu", dtype=torch.float64, requires_grad=False, training=False
        )
        for k, entry in enumerate(found):
            yield pytest.param(theirs, entry, id=f"{theirs.__name__}-{k}")


@pytest.mark.parametrize(("theirs", "entry"), list(_errors()))
def test_raises_the_same_errors_as_torch(theirs: type[nn.Module], entry: Any) -> None:
    constructor, arguments = entry.module_error_input.constructor_input, entry.module_error_input.forward_input
    if entry.error_on == ModuleErrorEnum.CONSTRUCTION_ERROR:
        with pytest.raises(entry.error_type, match=entry.error_regex):
            OURS[theirs](*constructor.args, **constructor.kwargs)
        return
    module = OURS[theirs](*constructor.args, **constructor.kwargs)
    with pytest.raises(entry.error_type, match=entry.error_regex):
        module(*arguments.args, **arguments.kwargs)
