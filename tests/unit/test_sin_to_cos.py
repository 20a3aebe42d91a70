"""Sine to cosine: the windows, torch's losses, the controls, and the pictures."""

from __future__ import annotations

import importlib.util
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import recurra
from recurra.cli.sin_to_cos import learn, show, window
from recurra.core.errors import ArgumentError
from recurra.drawing.raster import PALETTE, Raster, gif

EXAMPLE = Path(__file__).parents[2] / "examples" / "sin_to_cos.py"


def example() -> Any:
    spec = importlib.util.spec_from_file_location("sin_to_cos", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_windows_lie_side_by_side() -> None:
    times = [t for k in range(3) for t in window(k)[0]]
    assert times == pytest.approx([k * math.pi / 10 for k in range(30)], abs=1e-5)
    _, x, y = window(2)
    assert torch.allclose(x.square() + y.square(), torch.ones(10, 1, 1))


def test_the_listing_gives_torchs_losses() -> None:
    """To the last window where the sums are in torch's order ("hoisted"); in another order (the plain loop, which
    "auto" takes for a net this small) until a hundred updates in float32 have made more of the rounding."""

    def in_torchs_order(**options: Any) -> Any:
        layer = recurra.RNN(**options)
        layer.backend = "hoisted"
        return layer

    train = example().train
    for seed in range(3):
        theirs, _ = train(torch.nn.RNN, seed)
        ours, _ = train(in_torchs_order, seed)
        assert ours == pytest.approx(theirs, abs=1e-5)
        assert len(ours) == 100
        plain, _ = train(recurra.RNN, seed, windows=30)
        assert plain == pytest.approx(theirs[:30], abs=1e-5)


def test_the_demo_learns_as_the_listing_does() -> None:
    losses, _ = example().train(recurra.RNN, windows=20)
    assert [w.loss for w in learn("bptt", windows=20)] == pytest.approx(losses, abs=1e-4)


def test_a_memory_is_needed() -> None:
    """One seed of each; benchmarks/sin_to_cos.py has ten."""
    end = {way: [w.loss for w in learn(way, seed=3)][-10:] for way in ("bptt", "reset", "memoryless")}
    means = {way: sum(losses) / 10 for way, losses in end.items()}
    assert means["bptt"] < 0.02
    assert 0.05 < means["reset"] < 0.2
    assert 0.4 < means["memoryless"] < 0.6


@pytest.mark.parametrize("way", ["rtrl", "ekf"])
def test_other_rules_learn_it_too(way: str) -> None:
    losses = [w.loss for w in learn(way, seed=0, windows=40)]
    assert sum(losses[-5:]) < sum(losses[:5]) / 4


def test_unknown_ways_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="bptt, rtrl, ekf, reset, memoryless"):
        next(learn("magic"))
    with pytest.raises(ArgumentError, match=r"\.gif or \.png"):
        show(tmp_path / "picture.bmp", 0)


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    found = show(tmp_path / "a.png", 0, ["memoryless"])
    assert set(found) == {"memoryless"}
    data = (tmp_path / "a.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    start = data.index(b"IDAT") + 4
    (size,) = struct.unpack(">I", data[start - 8 : start - 4])
    pixels = np.frombuffer(zlib.decompress(data[start : start + size]), np.uint8).reshape(height, width + 1)[:, 1:]
    assert {2, 3} <= set(pixels.flatten().tolist())  # red and blue


def test_a_moving_picture_unpacks_to_its_frames() -> None:
    generator = np.random.default_rng(0)
    frames = [Raster(90, 70) for _ in range(2)]
    frames[0].pixels[:] = generator.integers(0, len(PALETTE), (70, 90))  # long enough to fill the table of codes
    frames[1].curve([(0, 0), (89, 69)], 2, 1)
    data = gif(frames)
    assert data.startswith(b"GIF89a")
    assert data.endswith(b";")
    at = 13 + 24 + 19
    for frame in frames:
        at += 8 + 10 + 1
        packed = b""
        while data[at]:
            packed += data[at + 1 : at + 1 + data[at]]
            at += 1 + data[at]
        at += 1
        assert unpack(packed) == frame.pixels.tobytes()


def unpack(packed: bytes) -> bytes:
    """Lempel, Ziv and Welch backwards, as the GIF standard tells decoders to do."""
    table = [bytes([k]) for k in range(8)] + [b"", b""]
    number, held, size, out, last = 0, 0, 4, b"", b""
    for byte in packed:
        number |= byte << held
        held += 8
        while held >= size:
            code = number & ((1 << size) - 1)
            number >>= size
            held -= size
            if code == 8:
                table, size, last = table[:10], 4, b""
                continue
            if code == 9:
                return out
            word = table[code] if code < len(table) else last + last[:1]
            if last and len(table) < 4096:
                table.append(last + word[:1])
            out += word
            last = word
            if len(table) == 1 << size and size < 12:
                size += 1
    raise AssertionError("no end")
