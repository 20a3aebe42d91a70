"""Operations that random cells do not write, or write too tamely: each in a cell of its own, equal to the loop; and
those that are refused, by name and line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import pytest
import torch

import recurra as rc
from random_cells.check import check_random_cell, kernels_needed, load
from random_cells.together import built_together
from recurra.core.errors import BackendError
from recurra.scan import cpp_compiler

pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler on this machine")

_HEAD = """
import torch
import torch.nn.functional as F
from torch import nn
import recurra as rc
CONTEXT = []
class RandomCell(rc.Cell):
    def __init__(self):
        super().__init__(5, 6)
        self.output_shape = {shape}
        self.w = nn.Parameter(torch.rand(6, 6) - 0.5)
        self.wide = nn.Parameter(0.2 * torch.rand(20, 20))
        self.kernel = nn.Parameter(torch.rand(2, 2, 3) - 0.5)
        self.lin = nn.Linear(5, 6)
        self.register_buffer("index", torch.tensor([2, 0, -1, 0]))
    def state_shapes(self):
        return ({shape},)
    def step(self, x, state):
        (h,) = state
        u = self.lin(x)
"""

_VECTOR = {
    "maximum_with_ties": "m, i = (2 * h).round().max(1, keepdim=True); h = u + m * h + i.to(h.dtype)",
    "minimum_with_ties": "h = u + h.round().min(-1)[0][:, None] * h",
    "entries_of_a_list": "h = u + h[:, [2, 0, 1, 5, 4, 3]]",
    "entries_of_a_buffer": "h = u + h[:, self.index].sum(1, keepdim=True) * h",
    "entries_by_many": "h = u + h[:, [0, 2, 4, 1, 3, 5, 3, 1, 4, 2, 0, 2, 4, 0, 1, 3, 5, 0]].view(-1, 3, 6).sum(1)",
    "rows_of_a_weight": "h = u + self.w[h.max(1)[1]]",
    "entry_of_the_largest": "h = u + (2 * h).gather(1, h.max(1, keepdim=True)[1]) * h",
    "steps_in_slices": "h = u + h[:, ::2].repeat(1, 2) + h[:, 1::3].sum(1, keepdim=True)",
    "rotation_of_pairs": "h = u + torch.stack([-h[:, 1::2], h[:, ::2]], -1).flatten(1)",
    "a_count": "h = u + (h > 0.1).sum(1, keepdim=True) * h",
    "cosine_similarity": "h = u + F.cosine_similarity(h[:, None, :], self.w[None], dim=-1) * h",
    "length_one": "h = u + F.normalize(h, dim=1)",
    "clamped_without_gradient": "v = h * 1.0\nwith torch.no_grad():\n    v.clamp_(min=0.1)\nh = u + v * h",
    "gated_half": "h = u + F.glu(torch.cat([h, 2 * h], 1), dim=1) + F.prelu(h, self.w[0, :1])",
    "triangular_weight": "h = u + F.linear(h, torch.tril(self.w))",
    "windows": "h = u + F.pad(h, (1, 1)).unfold(1, 3, 1).sum(-1)",
    "standardised": "h = u + (h - h.mean(1, keepdim=True)) / (h.std(1, keepdim=True) + 0.1)",
    "einsum": "h = u + torch.einsum('bij,jk,bk->bi', torch.einsum('bi,bj->bij', h, h), self.w, h)",
}

_MATRIX = {
    "a_weight_from_the_left": ((6, 4), "h = x[:, :1, None] + torch.matmul(self.w, h)"),
    "a_weight_from_the_right": ((3, 20), "h = x[:, :1, None] + torch.sin(h) @ self.wide + F.linear(h, self.wide)"),
    "a_weight_from_either_side": ((20, 3), "h = x[:, :1, None] + (self.wide @ h) * (h.mT @ self.wide).mT"),
    "cumulated_along_the_first": ((6, 4), "h = x[:, :1, None] + 0.3 * torch.cumsum(h, 1)"),
    "turned": ((6, 4), "h = x[:, :1, None] + h.movedim(1, 2).reshape(-1, 6, 4)"),
}

_REFUSED = {
    "convolution": ("h = u + F.conv1d(h.reshape(-1, 2, 3), self.kernel, padding=1).flatten(1)", "convolution"),
    "sort": ("h = u + h.sort(1)[0]", "sort"),
    "topk": ("h = u + h.topk(2, 1)[0].sum(1, keepdim=True)", "topk"),
    "a_mask_as_an_index": ("h = u + h[:, h[0] > 0].sum(1, keepdim=True)", ""),
    "a_slice_written_into": ("h = h.clone(); h[:, 2] = 0.5; h = u + h", "fill_"),
    "the_largest_of_all_rows": ("h = u + h * h.max()", "max: it mixes the batch's rows"),
    "two_indices": ("h = u + h[torch.arange(x.shape[0]), h.max(1)[1]][:, None]", ""),
}


def _cell(step: str, shape: tuple[int, ...] = (6,)) -> str:
    body = textwrap.indent(step.replace("; ", "\n") + "\nh = torch.tanh(h)\nreturn h, (h,)\n", " " * 8)
    return _HEAD.format(shape=shape) + body


CELLS = {name: _cell(step) for name, step in _VECTOR.items()}
CELLS |= {name: _cell(step, shape) for name, (shape, step) in _MATRIX.items()}


@pytest.fixture(scope="module", autouse=True)
def _together() -> Iterator[None]:
    with built_together([run for source in CELLS.values() for run in kernels_needed(source, "cpp")]):
        yield


@pytest.mark.parametrize("name", CELLS)
def test_an_operation_in_a_cell_of_its_own(name: str) -> None:
    check_random_cell(CELLS[name], "cpp")


@pytest.mark.parametrize("name", _REFUSED)
def test_what_has_no_rule_is_refused_by_name_and_line(name: str) -> None:
    step, message = _REFUSED[name]
    source = _cell(step)
    with pytest.raises(BackendError, match=rf"{message}.*\(<random cell [0-9a-f]+>:\d+, in step\)"):
        check_random_cell(source, "cpp")
    check_random_cell(source, "auto")


@pytest.mark.parametrize("name", ["maximum_with_ties", "entries_of_a_buffer", "entry_of_the_largest"])
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_chosen_stays_outside(name: str, odd: float) -> None:
    cell, _ = load(CELLS[name])
    start = torch.rand(4, 6)
    start[0, 1], start[1, 2] = odd, odd
    x = torch.rand(1, 4, 5)
    found, truth = (rc.scan(cell, x, (start,), backend=b).y for b in ("cpp", "reference"))
    assert torch.allclose(found, truth, atol=1e-6, equal_nan=True)
