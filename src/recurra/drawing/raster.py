"""Lines as pixels: PNG and moving GIF of curves, with nothing but numpy and zlib."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["PALETTE", "Raster", "gif"]

PALETTE = ((255, 255, 255), (208, 215, 222), (204, 51, 51), (0, 114, 178), (36, 41, 47), (0, 158, 115), (213, 94, 0))
"""Paper, grid, red, blue, ink, green, orange: the colours, by number."""


class Raster:
    """A picture of numbered colours, paper at first; pixels are counted from the upper left."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels: NDArray[np.uint8] = np.zeros((height, width), dtype=np.uint8)

    def curve(self, points: Sequence[tuple[float, float]], colour: int, thick: int = 2) -> None:
        """Draw lines from point to point `(x, y)`; what lies outside is left out."""
        for (x0, y0), (x1, y1) in pairwise(points):
            count = int(max(abs(x1 - x0), abs(y1 - y0))) + 2
            xs = np.linspace(x0, x1, count).round().astype(int)
            ys = np.linspace(y0, y1, count).round().astype(int)
            for dx in range(thick):
                for dy in range(thick):
                    inside = (
                        (xs + dx >= 0)
                        & (xs + dx < self.pixels.shape[1])
                        & (ys + dy >= 0)
                        & (ys + dy < self.pixels.shape[0])
                    )
                    self.pixels[ys[inside] + dy, xs[inside] + dx] = colour

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        height, width = self.pixels.shape
        lines = b"".join(b"\0" + line.tobytes() for line in self.pixels)
        parts = (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            (b"PLTE", bytes(v for colour in PALETTE for v in colour)),
            (b"IDAT", zlib.compress(lines, 9)),
            (b"IEND", b""),
        )
        chunks = (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in parts
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def gif(frames: Sequence[Raster], seconds: float = 0.1) -> bytes:
    """Return a moving picture that begins anew at its end; all frames are of one size."""
    height, width = frames[0].pixels.shape
    colours = [*PALETTE, *[(0, 0, 0)] * (8 - len(PALETTE))]
    parts = [
        b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF2, 0, 0),
        bytes(v for colour in colours for v in colour),
        b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0",
    ]
    for frame in frames:
        parts.append(b"\x21\xf9\x04\0" + struct.pack("<H", round(100 * seconds)) + b"\0\0")
        parts.append(b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x03")
        packed = _lzw(frame.pixels.tobytes())
        parts += [bytes([len(packed[k : k + 255])]) + packed[k : k + 255] for k in range(0, len(packed), 255)]
        parts.append(b"\0")
    return b"".join([*parts, b"\x3b"])


def _lzw(data: bytes) -> bytes:
    """Pack numbers below 8 as GIF wants them: Lempel, Ziv and Welch, lowest bit first, codes of up to 12 bits."""
    clear, end = 8, 9
    known: dict[bytes, int] = {bytes([k]): k for k in range(8)}
    size, bits, held = 4, 0, 0
    packed = bytearray()

    def emit(code: int) -> None:
        nonlocal bits, held
        bits |= code << held
        held += size
        while held >= 8:
            packed.append(bits & 255)
            bits >>= 8
            held -= 8

    emit(clear)
    following, word = 10, b""
    for k in range(len(data)):
        longer = word + data[k : k + 1]
        if longer in known:
            word = longer
            continue
        emit(known[word])
        if following < 4096:
            known[longer] = following
            size += following == 1 << size
            following += 1
        else:
            emit(clear)
            known = {bytes([k]): k for k in range(8)}
            size, following = 4, 10
        word = data[k : k + 1]
    if word:
        emit(known[word])
    emit(end)
    return bytes(packed) + (bytes([bits]) if held else b"")
