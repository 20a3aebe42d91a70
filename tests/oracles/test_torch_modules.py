"""torch's own module database, run against our RNN, GRU and LSTM: outputs, states, gradients, errors."""

from __future__ import annotations

import copy
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
    expected = _outcome(sample, sample.theirs)
    got = _outcome(sample, OURS[sample.theirs])
    assert pytree.tree_structure(got) == pytree.tree_structure(expected)
    torch.testing.assert_close(got, expected)


def _outcome(sample: Sample, cls: type[nn.Module]) -> Any:
    """Return outputs, final states, and every gradient: by the input, the initial states, and the weights."""
    torch.manual_seed(0)
    options = {**sample.constructor.kwargs, "dtype": sample.dtype}
    module = cls(*sample.constructor.args, **options).train(sample.training)
    args = pytree.tree_map_only(Tensor, lambda v: v.detach().clone(), copy.copy(sample.arguments.args))
    leaves = [v for v in pytree.tree_leaves(args) if isinstance(v, Tensor) and v.is_floating_point()]
    for leaf in leaves:
        leaf.requires_grad_()
    if isinstance(args[0], PackedSequence):
        leaves.append(args[0].data)
    results = module(*args, **sample.arguments.kwargs)
    leaves = [v for v in leaves if v.requires_grad] + list(module.parameters())
    tensors = [v for v in pytree.tree_leaves(results) if isinstance(v, Tensor) and v.requires_grad]
    loss = torch.stack([(v * torch.linspace(0.5, 1.5, v.numel(), dtype=v.dtype).view(v.shape)).sum() for v in tensors])
    grads = torch.autograd.grad(loss.sum(), leaves)
    return results, list(grads)


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
