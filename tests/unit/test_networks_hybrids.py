"""Convolutional front ends and self-attention around recurrent layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from topology_laws import KINDS, gradients_are_right, rows_stand_alone, streams
from torch import Tensor, nn

import recurra as rc
from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks import Chain, ColumnsFront, EveryStep, PictureFront, SelfAttention, SeriesFront, StreamingLayer

X = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def recurrent(cell: str, inputs: int, size: int = 6) -> rc.Recurrent:
    return rc.Recurrent(cell, inputs, size, batch_first=True, backend="reference").double()


def series(causal: bool = False, strides: Any = None, kernel: int = 3) -> SeriesFront:
    return SeriesFront(4, [5, 6], kernel, strides=strides, causal=causal).double()


def by_hand(front: SeriesFront, x: Tensor) -> Tensor:
    """Compute one row `(T, C)` place after place."""
    for layer, stride in zip(front.layers, front.strides, strict=True):
        assert isinstance(layer, nn.Conv1d)
        assert layer.bias is not None
        left = front.kernel - 1 if front.causal else (front.kernel - 1) // 2
        out: list[Tensor] = []
        for at in range(0, len(x), stride):
            total = layer.bias
            for k in range(front.kernel):
                if 0 <= at - left + k < len(x):
                    total = total + layer.weight[:, :, k] @ x[at - left + k]
            out.append(total.clamp(min=0))
        x = torch.stack(out)
    return x


@pytest.mark.parametrize("kernel", [1, 3, 4])
@pytest.mark.parametrize("strides", [None, [2, 1], [3, 2]])
@pytest.mark.parametrize("causal", [False, True])
def test_a_series_is_convolved_place_by_place(causal: bool, strides: Any, kernel: int) -> None:
    front = series(causal, strides, kernel)
    lengths = [7, 0, 4]
    x = X.clone()
    x[2, 4:] = torch.nan
    y, _ = front(x, lengths=lengths)
    many: Any = front.output_lengths(torch.tensor(lengths))
    for b in (0, 2):
        torch.testing.assert_close(y[b, : many[b]], by_hand(front, X[b, : lengths[b]]))
        assert not y[b, many[b] :].count_nonzero()
    assert not y[1].count_nonzero()
    torch.testing.assert_close(front(X)[0], torch.stack([by_hand(front, row) for row in X]))
    gradients_are_right(front, X[:2, :5], lengths=[5, 2])


@pytest.mark.parametrize("cell", KINDS)
def test_before_any_cell_a_causal_front_end_streams(cell: str) -> None:
    network = Chain(series(causal=True), recurrent(cell, 6))
    assert isinstance(network, StreamingLayer)
    streams(network, X)
    rows_stand_alone(network, X, [3, 0, 7])
    ahead = Chain(series(strides=[2, 1]), recurrent(cell, 6))
    y, _ = ahead(X, lengths=[7, 1, 4])
    assert y.shape == (3, 4, 6)
    for b, (n, many) in enumerate(((7, 4), (1, 1), (4, 2))):
        torch.testing.assert_close(y[b, :many], ahead(X[b : b + 1, :n])[0][0])
    assert torch.equal(torch.as_tensor(ahead.output_lengths([7, 1, 4])), torch.tensor([4, 1, 2]))


def test_rows_of_different_age_go_on_together() -> None:
    front = series(causal=True)
    _, state = front(X, lengths=[1, 4, 0])
    later = torch.randn(3, 2, 4, dtype=torch.float64)
    y, _ = front(later, state)
    torch.testing.assert_close(y[1], front(torch.cat([X[1:2, :4], later[1:2]], 1))[0][0, 4:])
    torch.testing.assert_close(y[2], front(later[2:])[0][0])


@pytest.mark.parametrize("cell", KINDS)
def test_a_videos_frames_go_one_by_one_through_a_picture_network(cell: str) -> None:
    front = PictureFront([2, 3, 4], 5).double()
    network = Chain(EveryStep(front, 5), recurrent(cell, 5))
    video = torch.randn(2, 4, 2, 5, 6, dtype=torch.float64)
    streams(network, video)
    rows_stand_alone(network, video, [4, 2])
    x = video[0, 0]
    for convolution in front.convolutions:
        assert isinstance(convolution, nn.Conv2d)
        x = F.conv2d(x[None], convolution.weight, convolution.bias, padding=1)[0].relu()
        high, wide = x.shape[1:]
        x = torch.stack(
            [torch.stack([x[:, i : i + 2, j : j + 2].amax((1, 2)) for j in range(0, wide, 2)], 1)
             for i in range(0, high, 2)], 1,
        )  # fmt: skip
    torch.testing.assert_close(front(video[0, :1])[0], front.linear(x.flatten(1).mean(1)))
    gradients_are_right(EveryStep(front, 5), video[:, :2], lengths=[2, 1])


def test_a_line_of_writing_is_read_from_left_to_right() -> None:
    front = ColumnsFront([1, 3, 4]).double()
    network = Chain(front, recurrent("lstm", 4))
    pictures = torch.randn(2, 1, 6, 11, dtype=torch.float64)
    torn = pictures.clone()
    torn[1, :, :, 5:] = torch.nan
    y, _ = front(torn, lengths=[11, 5])
    assert y.shape == (2, 3, 4)
    torch.testing.assert_close(y[1, :2], front(pictures[1:, :, :, :5])[0][0])
    assert not y[1, 2:].count_nonzero()
    out, _ = network(torn, lengths=[11, 5])
    torch.testing.assert_close(out[1, :2], network(pictures[1:, :, :, :5])[0][0])
    torch.testing.assert_close(out[0], network(pictures[:1])[0][0])
    gradients_are_right(front, pictures[:, :, :3, :5], lengths=[5, 2])
    with pytest.raises(ArgumentError, match="sees the columns to the right too"):
        network.step(pictures[:, :, :, 0])


def attention(causal: bool = False) -> SelfAttention:
    return SelfAttention(6, 2, causal=causal).double()


@pytest.mark.parametrize("causal", [False, True])
def test_self_attention_equals_a_loop_over_heads_and_steps(causal: bool) -> None:
    block = attention(causal)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    q, k, v = block.project(block.norm(x)).split(6, 2)
    weights = block.weights(x)
    for t in range(5):
        s = slice(0, t + 1 if causal else 5)
        heads: list[Tensor] = []
        for h in (slice(0, 3), slice(3, 6)):
            a = torch.softmax(torch.einsum("bf,bsf->bs", q[:, t, h], k[:, s, h]) / 3**0.5, 1)
            torch.testing.assert_close(weights[:, h.start // 3, t, s], a)
            heads.append(torch.einsum("bs,bsf->bf", a, v[:, s, h]))
        torch.testing.assert_close(block(x)[0][:, t], x[:, t] + block.out(torch.cat(heads, 1)))
    rows_stand_alone(block, x, [3, 0])
    gradients_are_right(block, x[:, :3], lengths=[3, 2])


@pytest.mark.parametrize("cell", KINDS)
def test_between_recurrent_layers(cell: str) -> None:
    network = Chain(recurrent(cell, 4), attention(causal=True), recurrent(cell, 6))
    streams(network, X)
    rows_stand_alone(network, X, [3, 0, 7])
    rows_stand_alone(Chain(recurrent(cell, 4), attention(), recurrent(cell, 6)), X, [3, 0, 7])
    _, state = network(X)
    whole, _ = network(X, state)
    torch.testing.assert_close(network(X[[2, 0]], rc.index_rows(state, [2, 0]))[0], whole[[2, 0]])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match="expected heads that divide the size 6, got 4"):
        SelfAttention(6, 4)
    with pytest.raises(ArgumentError, match="looks at later steps too"):
        attention().step(X[:, 0])
    with pytest.raises(ShapeError, match=r"SelfAttention: expected an input of shape \(B, T, 6\), got \(3, 7, 4\)"):
        attention()(X)
    with pytest.raises(ArgumentError, match="SeriesFront sees later inputs, so it cannot run step by step"):
        series().step(X[:, 0])
    with pytest.raises(ArgumentError, match=r"gives one output for \(2, 1\) inputs"):
        series(True, [2, 1]).step(X[:, 0])
    with pytest.raises(ArgumentError, match=r"one stride of at least 1 for each layer, got .* strides \[1\]"):
        series(strides=[1])
    with pytest.raises(ArgumentError, match="carries a state only if causal and with strides of 1"):
        series()(X, (X,))
    with pytest.raises(ShapeError, match=r"expected pictures of shape \(N, 2, height, width\), got \(3, 7, 4\)"):
        PictureFront([2, 3], 4)(X)
    with pytest.raises(ArgumentError, match=r"the picture's channels and those of at least one layer, got \[2\]"):
        ColumnsFront([2])
    with pytest.raises(
        ShapeError, match=r"expected Linear to give \(N, 5, ...\), got \(21, 3\): make output_size agree"
    ):
        EveryStep(nn.Linear(4, 3).double(), 5)(X)
