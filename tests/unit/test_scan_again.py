"""A call like an earlier one takes the short way to its kernel, and gives the same."""

from __future__ import annotations

import pytest
import torch

from recurra import cells
from recurra.scan import cpp_compiler, scan


@pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler on this machine")
@pytest.mark.parametrize("name", cells.names())
def test_a_second_call_without_gradients_and_without_a_state(name: str) -> None:
    cell = cells.get(name)(3, 4)
    x = torch.randn(100, 6, *cell.input_shape)
    with torch.no_grad():
        first, second = scan(cell, x), scan(cell, x)
        begun = scan(cell, x, cell.initial_state(6))
    for again in (second, begun):
        torch.testing.assert_close(again.y, first.y, rtol=0, atol=0)
        torch.testing.assert_close(again.state, first.state, rtol=0, atol=0)
