"""`check_cell` catches broken cells, each by the law meant for it, and leaves the world as it found it."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra import Cell
from recurra.cells import get
from recurra.core import State
from recurra.core.errors import ArgumentError, LawError
from recurra.testing import LAWS, Subject, check_cell
from recurra.testing import tolerances as tolerances_module


class Sound(Cell):
    """The cell that the broken ones below are made of: nothing is wrong with it."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.mix = nn.Linear(input_size + hidden_size, hidden_size)

    def next(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.mix(torch.cat([x, h], -1)))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.next(x, state[0])
        return h, (h,)


class MixesRows(Sound):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.next(x - x.mean(0), state[0])
        return h, (h,)


class CountsRows(Sound):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.next(x, state[0]) / x.shape[0]
        return h, (h,)


class WritesIntoTheState(Sound):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.next(x, state[0])
        with torch.no_grad():
            state[0].copy_(h)
        return h, (h,)


class WritesIntoTheInput(Sound):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.next(x, state[0])
        with torch.no_grad():
            x.zero_()
        return h, (h,)


class DrawsNoise(Sound):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.next(x, state[0]) + 0.01 * torch.randn_like(state[0])
        return h, (h,)


class DropsOutInTheStep(Sound):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = nn.functional.dropout(self.next(x, state[0]), 0.5, self.training)
        return h, (h,)


class DeclaresAnotherOutput(Sound):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.output_shape = (hidden_size + 1,)


class DeclaresAnotherState(Sound):
    def state_shapes(self) -> Any:
        return ((self.hidden_size,), (self.hidden_size,))


class GivesAList(Sound):
    def step(self, x: Tensor, state: State) -> Any:
        h = self.next(x, state[0])
        return h, [h]


class StaysInSinglePrecision(Sound):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.next(x, state[0])
        return h.float(), (h,)


class RemembersInPython(Sound):
    """Its memory is an attribute: it does not start anew, cannot be cut, and knows nothing of rows."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.calls = 0

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        self.calls += 1
        h = self.next(x, state[0])
        return h * (1 + 0.1 * self.calls), (h,)


class KeepsATrace(Sound):
    """Writes an attribute that nothing reads."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        self.last = self.next(x, state[0])
        return self.last, (self.last,)


class KnowsTheNumberOfSteps(Sound):
    def make_context(self, given: Any, steps: int, batch: int, device: Any, dtype: Any) -> Any:
        return (torch.full((batch, 1), 1.0 / max(steps, 1), dtype=dtype),), ()

    def step(self, x: Tensor, state: State, context: tuple[Any, ...]) -> tuple[Tensor, State]:
        h = self.next(x, state[0]) + context[0]
        return h, (h,)


class LooksAtThePadding(Sound):
    """Centres what it is given by its mean over time, padding and future included."""

    def make_context(self, given: Any, steps: int, batch: int, device: Any, dtype: Any) -> Any:
        (hints,) = given
        return (hints.mean(0) if steps else hints.sum(0),), ()

    def step(self, x: Tensor, state: State, context: tuple[Any, ...]) -> tuple[Tensor, State]:
        h = self.next(x, state[0] + context[0])
        return h, (h,)


class CutsTheGradient(Sound):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.next(x, state[0].detach())
        return h, (h,)


class WrongBackward(torch.autograd.Function):
    """tanh whose backward is that of the identity."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        return v.tanh()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0]


class OnceDifferentiable(torch.autograd.Function):
    """tanh with a right backward whose own derivative is lost."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        y = v.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return grads[0] * (1 - y.detach() ** 2)


class HasAWrongBackward(Sound):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = WrongBackward.apply(self.mix(torch.cat([x, state[0]], -1)))
        return h, (h,)


class HasNoSecondBackward(Sound):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = OnceDifferentiable.apply(self.mix(torch.cat([x, state[0]], -1)))
        return h, (h,)


class BranchesOnValues(Sound):
    """Python's `if` on a tensor's value: it cannot be mapped over."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.next(x, state[0])
        return (h, (h,)) if bool((h.abs() < 2).all()) else (2 * h, (h,))


class HidesAWeight(Sound):
    """A random tensor that is neither parameter nor buffer, and so is not saved."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.scale = (torch.rand(hidden_size) + 1).tolist()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.next(x, state[0]) * torch.tensor(self.scale, dtype=x.dtype)
        return h, (h,)


class FailsWithoutRows(Sound):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.next(x, state[0])
        return h.reshape(x.shape[0], -1), (h,)


class StartsAnewWhereItIsCopied(Sound):
    def __deepcopy__(self, memo: Any) -> StartsAnewWhereItIsCopied:
        return StartsAnewWhereItIsCopied(self.input_size, self.hidden_size)


def hints(steps: int, batch: int) -> tuple[Tensor, ...]:
    return (torch.randn(steps, batch, 1),)


@pytest.mark.parametrize(
    ("cell", "law", "options"),
    [
        (MixesRows, "a_row_of_a_batch_equals_that_row_alone", {}),
        (CountsRows, "a_row_of_a_batch_equals_that_row_alone", {}),
        (MixesRows, "padded_equals_ragged", {}),
        (WritesIntoTheState, "inputs_are_left_as_they_were", {}),
        (WritesIntoTheInput, "inputs_are_left_as_they_were", {}),
        (DrawsNoise, "two_calls_are_bit_equal", {}),
        (DrawsNoise, "the_step_draws_no_random_number", {}),
        (DropsOutInTheStep, "the_step_draws_no_random_number", {}),
        (DeclaresAnotherOutput, "shapes_are_as_declared", {}),
        (DeclaresAnotherState, "shapes_are_as_declared", {}),
        (GivesAList, "shapes_are_as_declared", {}),
        (StaysInSinglePrecision, "dtypes_follow_the_input", {}),
        (RemembersInPython, "two_calls_are_bit_equal", {}),
        (RemembersInPython, "streaming_equals_the_whole", {}),
        (RemembersInPython, "reversed_equals_flipped", {}),
        (RemembersInPython, "a_call_leaves_the_cell_unchanged", {}),
        (RemembersInPython, "every_backend_equals_the_reference", {}),
        (KeepsATrace, "a_call_leaves_the_cell_unchanged", {}),
        (KnowsTheNumberOfSteps, "two_parts_equal_the_whole", {}),
        (KnowsTheNumberOfSteps, "layers_go_on_from_a_state", {}),
        (KnowsTheNumberOfSteps, "layers_stream", {}),
        (KnowsTheNumberOfSteps, "layers_equal_each_row_alone", {}),
        (LooksAtThePadding, "padding_reaches_nothing", {"context": hints}),
        (CutsTheGradient, "gradients_are_right", {}),
        (MixesRows, "inactive_rows_stand_still", {}),
        (HasNoSecondBackward, "func_jvp_equals_backward", {}),
        (HasAWrongBackward, "gradients_are_right", {}),
        (HasNoSecondBackward, "second_gradients_are_right", {}),
        (HasNoSecondBackward, "func_grad_equals_backward", {}),
        (BranchesOnValues, "vmap_equals_a_loop", {}),
        (HidesAWeight, "saved_and_loaded_is_bit_equal", {}),
        (FailsWithoutRows, "no_rows_and_no_steps_work", {}),
        (StartsAnewWhereItIsCopied, "a_copy_is_bit_equal", {}),
    ],
)
def test_a_broken_cell_is_caught(cell: type[Cell], law: str, options: dict[str, Any]) -> None:
    with pytest.raises(LawError, match=f"{cell.__name__} breaks the law {law}: .*expected .*got .*the law: ") as caught:
        LAWS[law](Subject(cell, 3, 4, **options))
    assert "\n" not in str(caught.value)
    with pytest.raises(LawError, match=f"{cell.__name__} breaks the law"):
        check_cell(cell, 3, 4, **options)


def test_a_sound_cell_passes_in_every_form() -> None:
    built = Sound(2, 2)
    before = {name: v.clone() for name, v in built.state_dict().items()}
    for cell in (Sound, lambda i, h: Sound(i, h), built, "elman"):
        check_cell(cell, 2, 2)
    assert built.training
    assert all(torch.equal(v, before[name]) for name, v in built.state_dict().items())


def test_options_go_to_the_cell() -> None:
    check_cell("projected_lstm", 3, 4, proj_size=2)
    with pytest.raises(TypeError, match="no_such_option"):
        check_cell("elman", 3, 4, no_such_option=1)


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        (3, {}, "expected a Cell, a Cell class, a registered name or a factory .* got int"),
        (lambda i, h: nn.Linear(i, h), {}, "expected a factory that returns a recurra.Cell, got Linear"),
        (Sound(2, 2), {"bias": True}, "a built cell takes no options, got bias"),
        ("elmann", {}, "did you mean 'elman'"),
    ],
)
def test_what_is_no_cell_is_refused(cell: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        check_cell(cell, 2, 2, **options)


def test_random_states_are_left_as_they_were() -> None:
    torch_state, python_state, dtype = torch.get_rng_state(), random.getstate(), torch.get_default_dtype()
    check_cell(get("lstm"), 2, 3)
    with pytest.raises(LawError):
        check_cell(DrawsNoise, 2, 3)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert torch.get_default_dtype() == dtype


def test_every_law_says_what_it_is() -> None:
    assert len(LAWS) >= 20
    for law in LAWS.values():
        assert len(law.says.split()) > 4, law.name


def test_there_is_a_tolerance_for_every_floating_dtype_of_torch_in_use() -> None:
    table = tolerances_module.TOLERANCES
    assert set(table) == {torch.float64, torch.float32, torch.float16, torch.bfloat16}
    assert all(torch.finfo(dtype).eps <= t.rtol for dtype, t in table.items())
