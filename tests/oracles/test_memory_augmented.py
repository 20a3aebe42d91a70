"""The neural Turing machine and the stack-augmented network beside their papers' equations, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recurra import Recurrent, cells, scan
from recurra.core.errors import ArgumentError

Array = Any
T, B, I, H = 6, 3, 3, 4  # noqa: E741
N, W, READS, WRITES = 5, 3, 2, 2


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def softplus(a: Array) -> Array:
    return np.log1p(np.exp(a))


def softmax(a: Array) -> Array:
    return np.exp(a) / np.exp(a).sum()


def addressed(memory: Array, head: Array, before: Array) -> Array:
    """Return a head's weighting: equations 5 to 9 of the paper, one slot after the other."""
    k, (beta, g), s, gamma = np.tanh(head[:W]), head[W : W + 2], softmax(head[W + 2 : W + 5]), head[W + 5]
    cosine = [memory[i] @ k / np.sqrt((memory[i] @ memory[i]) * (k @ k)) for i in range(N)]
    w_c = softmax(softplus(beta) * np.array(cosine))
    w_g = sigmoid(g) * w_c + (1 - sigmoid(g)) * before
    moved = np.array([sum(w_g[(i - j) % N] * s[j + 1] for j in (-1, 0, 1)) for i in range(N)])
    sharp = moved ** (1 + softplus(gamma))
    return sharp / sharp.sum()


def machine(w: dict[str, Array], x: Array, s: Any) -> Any:
    r, w_read, w_write, memory = s
    h = np.tanh(w["controller.layer.weight"] @ np.concatenate([x, r]) + w["controller.layer.bias"])
    heads = (w["heads.weight"] @ h + w["heads.bias"]).reshape(READS + WRITES, W + 6)
    writing = (w["writing.weight"] @ h + w["writing.bias"]).reshape(WRITES, 2, W)
    w_write = np.stack([addressed(memory, heads[READS + k], w_write[k]) for k in range(WRITES)])
    for k in range(WRITES):
        memory = memory * (1 - np.outer(w_write[k], sigmoid(writing[k, 0])))
    for k in range(WRITES):
        memory = memory + np.outer(w_write[k], np.tanh(writing[k, 1]))
    w_read = np.stack([addressed(memory, heads[k], w_read[k]) for k in range(READS)])
    r = np.concatenate([w_read[k] @ memory for k in range(READS)])
    y = w["output.weight"] @ np.concatenate([h, r]) + w["output.bias"]
    return y, (r, w_read, w_write, memory)


def with_stacks(w: dict[str, Array], x: Array, s: Any) -> Any:
    h, stacks = s
    top = stacks[:, :2].reshape(-1)
    h = sigmoid(w["U"] @ x + w["R"] @ h + w["P"] @ top)
    after = np.full_like(stacks, -1.0)
    for k, stack in enumerate(stacks):
        push, pop, keep = softmax((w["A"] @ h)[3 * k : 3 * k + 3])
        below = [*stack, -1.0]
        for i in range(len(stack)):
            above = sigmoid(w["D"] @ h)[k] if i == 0 else stack[i - 1]
            after[k, i] = push * above + pop * below[i + 1] + keep * stack[i]
    return h, (h, after)


CASES = [
    ("neural_turing_machine", machine, {"slots": N, "width": W, "read_heads": READS, "write_heads": WRITES}),
    ("stack_augmented", with_stacks, {"stacks": 2, "depth": 4}),
]


@pytest.mark.parametrize(("name", "equation", "options"), CASES)
def test_equals_the_papers_equation(name: str, equation: Any, options: dict[str, Any]) -> None:
    cell = cells.get(name)(I, H, **options).double()
    with torch.no_grad():
        for p in cell.parameters():
            p.mul_(3)
    x = torch.randn(T, B, I, dtype=torch.float64)
    start = cell.initial_state(B, dtype=torch.float64)
    result = scan(cell, x, start)
    weights = {k: v.numpy() for k, v in cell.state_dict().items()}
    for b in range(B):
        state = tuple(s[b].numpy() for s in start)
        for t in range(T):
            y, state = equation(weights, x[t, b].numpy(), state)
            # 1e-12 stands in the cell's logarithm of a weighting, so that one of zero has a gradient.
            np.testing.assert_allclose(result.y[t, b].detach().numpy(), y, rtol=1e-7, atol=1e-9)
        for got, expected in zip(result.state, state, strict=True):
            np.testing.assert_allclose(got[b].detach().numpy(), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("controller", ["lstm", "gru"])
def test_any_cell_is_a_controller(controller: str) -> None:
    rnn = Recurrent("neural_turing_machine", I, H, 2, controller=cells.get(controller))
    y, state = rnn(torch.randn(T, B, I))
    assert y.shape == (T, B, H)
    assert len(state) == 4 + len(cells.get(controller)(I, H).state_shapes())
    y.square().sum().backward()
    assert all(p.grad is not None for p in rnn.parameters())


def test_a_machine_set_by_hand_writes_what_it_sees_slot_after_slot_and_reads_it_back() -> None:
    """Heads that only move on, from slot 0: what was written at the t-th step lies in the t-th slot."""
    cell = cells.get("neural_turing_machine")(2, 2, slots=8, width=2).double()
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        cell.controller.layer.weight[:, :2] = torch.eye(2)
        cell.heads.bias.view(2, 8)[:, [3, 6]] = torch.tensor([-40.0, 40.0], dtype=torch.float64)
        cell.writing.bias[:2] = 40.0
        cell.writing.weight[2:] = torch.eye(2)
        cell.output.weight[:, 2:] = torch.eye(2)
    x = torch.rand(5, 1, 2, dtype=torch.float64)
    result = scan(cell, x)
    written = torch.tanh(torch.tanh(x[:, 0]))
    torch.testing.assert_close(result.state[3][0, 1:6], written, rtol=0, atol=1e-5)
    torch.testing.assert_close(result.y[:, 0], written, rtol=0, atol=1e-5)


def test_a_stack_set_by_hand_counts() -> None:
    """Push where the input is 1, pop where it is -1: the stack is as deep as there are pushes too many."""
    cell = cells.get("stack_augmented")(1, 2, depth=6).double()
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        cell.U[:, 0] = torch.tensor([80.0, -80.0])
        cell.A[:2] = 80 * torch.eye(2)
        cell.D += 80.0
    x = torch.tensor([1, 1, 1, -1, 1, -1, -1, -1], dtype=torch.float64).view(-1, 1, 1)
    states = scan(cell, x, keep_states=True).states
    assert states is not None
    depth = (states[1][:, 0, 0] > 0).sum(-1)
    assert depth.tolist() == [1, 2, 3, 2, 3, 2, 1, 0]


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ArgumentError, match="expected at least 3 slots"):
        cells.get("neural_turing_machine")(I, H, slots=2)
    with pytest.raises(ArgumentError, match="the controller must map vectors of 11 to vectors, got ConvGRUCell"):
        cells.get("neural_turing_machine")(I, H, controller=cells.get("conv_gru"))
    with pytest.raises(ArgumentError, match="expected at least 1 stack"):
        cells.get("stack_augmented")(I, H, stacks=0)
