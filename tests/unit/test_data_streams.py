"""The laws of contiguous streams, over random documents, batch sizes and windows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recurra.core.errors import ArgumentError, DataError
from recurra.data import StreamReader

sizes = st.lists(st.integers(0, 40), min_size=1, max_size=8)
batch_sizes = st.integers(1, 9)
windows = st.integers(1, 12)


def numbered(sizes: list[int]) -> list[np.ndarray]:
    """Documents in which every token of all is another number, so that each tells where it stands."""
    ends = np.cumsum(sizes)
    return [np.arange(end - size, end) + 1 for size, end in zip(sizes, ends, strict=True)]


def reader(sizes: list[int], batch_size: int, window: int) -> StreamReader:
    assume(max(sizes) >= 2)
    return StreamReader(numbered(sizes), batch_size, window)


def steps(batch, row: int) -> list[tuple[int, int]]:
    length = batch.inputs.shape[1] if batch.lengths is None else int(batch.lengths[row])
    return list(zip(batch.inputs[row, :length].tolist(), batch.targets[row, :length].tolist(), strict=True))


@given(sizes, batch_sizes, windows)
def test_every_prediction_is_made_exactly_once_and_none_across_a_border(sizes, batch_size, window):
    stream = reader(sizes, batch_size, window)
    made = sorted(pair for batch in stream.batches() for row in range(batch_size) for pair in steps(batch, row))
    wanted = sorted((int(a), int(b)) for d in numbered(sizes) for a, b in pairwise(d))
    assert made == wanted
    assert stream.predictions == len(wanted)


@given(sizes, batch_sizes, windows)
def test_a_window_goes_on_where_the_row_ended_or_resets(sizes, batch_size, window):
    starts = {int(document[0]) for document in numbered(sizes) if len(document)}
    expected: list[int | None] = [None] * batch_size
    for batch in reader(sizes, batch_size, window).batches():
        for row in range(batch_size):
            pairs = steps(batch, row)
            resets = batch.resets is not None and bool(batch.resets[row])
            if not pairs:
                assert not resets
                expected[row] = -1  # a row that ran out never comes back
                continue
            assert expected[row] != -1
            assert resets == (expected[row] is None or pairs[0][0] in starts)
            assert resets or pairs[0][0] == expected[row]
            # Inside a window the targets are the next inputs: no border lies there.
            assert [target for _, target in pairs[:-1]] == [token for token, _ in pairs[1:]]
            expected[row] = pairs[-1][1]


@given(sizes, batch_sizes, windows)
def test_rows_hold_nearly_equal_numbers_of_windows(sizes, batch_size, window):
    stream = reader(sizes, batch_size, window)
    filled = np.array([[bool(steps(batch, row)) for row in range(batch_size)] for batch in stream.batches()])
    counts = filled.sum(0)
    assert counts.max() - counts.min() <= 1
    assert counts.max() == len(stream) == len(filled)


@given(sizes, batch_sizes, windows)
def test_shapes_padding_and_what_is_none(sizes, batch_size, window):
    for batch in reader(sizes, batch_size, window).batches():
        assert batch.inputs.shape == batch.targets.shape == (batch_size, window)
        assert batch.inputs.dtype == batch.targets.dtype == torch.int64
        if batch.lengths is not None:
            assert batch.lengths.dtype == torch.int64
            assert (batch.lengths < window).any()
            beyond = torch.arange(window) >= batch.lengths[:, None]
            assert not batch.inputs[beyond].any()
            assert not batch.targets[beyond].any()
        if batch.resets is not None:
            assert batch.resets.dtype == torch.bool
            assert batch.resets.any()


@given(sizes, batch_sizes, windows, st.data())
def test_the_epoch_can_be_entered_anywhere(sizes, batch_size, window, data):
    stream = reader(sizes, batch_size, window)
    start = data.draw(st.integers(0, len(stream)))
    late, whole = list(stream.batches(start)), list(stream.batches())[start:]
    assert len(late) == len(whole)
    for a, b in zip(late, whole, strict=True):
        for name in ("inputs", "targets", "lengths", "resets"):
            x, y = getattr(a, name), getattr(b, name)
            assert (x is None and y is None) or torch.equal(x, y)


@settings(max_examples=30)
@given(st.integers(1, 6), windows, st.integers(1, 5))
def test_one_long_document_is_the_usual_char_rnn_batching(batch_size, window, batches):
    text = np.arange(batch_size * window * batches + 1)
    stream = StreamReader([text], batch_size, window)
    rows = text[:-1].reshape(batch_size, batches, window)
    for number, batch in enumerate(stream.batches()):
        assert torch.equal(batch.inputs, torch.from_numpy(rows[:, number]))
        assert torch.equal(batch.targets, batch.inputs + 1)
        assert batch.lengths is None
        assert (batch.resets is None) == (number > 0)
        assert batch.resets is None or bool(batch.resets.all())
    assert len(stream) == batches


def test_nothing_to_predict_is_refused():
    with pytest.raises(DataError, match="at least 2 tokens"):
        StreamReader([np.array([1]), np.array([], dtype=np.int64)], 2, 3)
    with pytest.raises(DataError, match="at least 2 tokens"):
        StreamReader([], 2, 3)


@pytest.mark.parametrize(("batch_size", "window", "name"), [(0, 3, "batch_size"), (2, 0, "window"), (2, -1, "window")])
def test_sizes_of_zero_or_below_are_refused(batch_size, window, name):
    with pytest.raises(ArgumentError, match=f"{name} must be at least 1"):
        StreamReader([np.arange(9)], batch_size, window)


def test_what_is_no_token_array_is_refused():
    with pytest.raises(ArgumentError, match="integers"):
        StreamReader([np.ones(4)], 1, 2)
    with pytest.raises(ArgumentError, match="integers"):
        StreamReader([np.ones((2, 2), dtype=np.int64)], 1, 2)


@pytest.mark.parametrize("start", [-1, 3])
def test_a_start_outside_of_the_epoch_is_refused_at_once(start):
    with pytest.raises(ArgumentError, match="from 0 to 2"):
        StreamReader([np.arange(5)], 1, 2).batches(start)
