"""What holds in every test: one thread, fixed seeds, repeatable examples of hypothesis, NaN in fresh memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
# torch.empty then gives NaN (and the largest integers), so that whoever reads what nobody wrote is found out.
torch.use_deterministic_algorithms(True)
torch.utils.deterministic.fill_uninitialized_memory = True
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=30)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def fixed_seed() -> Iterator[None]:
    """Start every test from the same random state, and leave no dtype behind."""
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)
