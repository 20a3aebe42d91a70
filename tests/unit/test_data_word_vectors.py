"""Word vectors: every format read as it is defined, what is damaged refused in one line, neighbours by cosine."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest

from recurra.core.errors import ArgumentError, DataError
from recurra.data.spelling import Spelling
from recurra.data.word_vectors import WordVectors, read_vectors, write_vectors

WORDS = ("the", "王", "don't", "1998")
TABLE = np.array([[1, 0, -0.5], [0.25, 2, 3], [1e-3, 4, 5], [7, 8, 9]], dtype=np.float32)


def lines(*, header: bool, word: str = "the", border: str = " ") -> bytes:
    rows = [[word, *TABLE[0].tolist()], *([w, *v] for w, v in zip(WORDS[1:], TABLE[1:].tolist(), strict=True))]
    body = "".join(border.join(map(str, row)) + "\n" for row in rows)
    return (("4 3\n" if header else "") + body).encode()


def binary(*, breaks: bool, count: int = 4) -> bytes:
    rows = [f"{w} ".encode() + struct.pack("<3f", *v) for w, v in zip(WORDS, TABLE.tolist(), strict=True)]
    return f"{count} 3\n".encode() + (b"\n" if breaks else b"").join(rows) + (b"\n" if breaks else b"")


FORMATS = {
    "word2vec text, fastText": lines(header=True),
    "with tabs": lines(header=True, border="\t"),
    "a blank at each line's end": lines(header=True).replace(b"\n", b" \n").replace(b"4 3 \n", b"4 3\n"),
    "glove": lines(header=False),
    "word2vec binary": binary(breaks=False),
    "word2vec binary with line breaks": binary(breaks=True),
}


@pytest.mark.parametrize("content", FORMATS.values(), ids=FORMATS)
def test_every_format_gives_the_same(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v").write_bytes(content)
    found = read_vectors(tmp_path / "v")
    assert found.words == WORDS
    np.testing.assert_array_equal(found.vectors, TABLE)
    assert found.vectors.dtype == np.float32
    some = read_vectors(tmp_path / "v", {"王", "nobody"})
    assert some.words == ("王",)
    np.testing.assert_array_equal(some.vectors, TABLE[1:2])
    assert read_vectors(tmp_path / "v", ()).vectors.shape == (0, 3)


def test_words_with_blanks_and_twice_the_same(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(lines(header=False) + b". . . 1 2 3\nthe 9 9 9\n\xc2\xa0 4 5 6\n")
    found = read_vectors(tmp_path / "v")
    assert found.words == (*WORDS, ". . .", "\xa0")
    np.testing.assert_array_equal(found.vectors[[0, 4]], [TABLE[0], [1, 2, 3]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "v:1: expected `words size`"),
        (b"hello\n", "v:1: expected `words size`"),
        (b"4 0\n", "v:1: expected a number of words and a size"),
        (b"2 3\na 1 2 3\nb 1 2\n", "v:3: expected a word and 3 numbers, got 2"),
        (b"2 3\na 1 2 3\nb 1 x 3\n", "v:3: expected 3 finite numbers after the word, got '1 x 3'"),
        (b"a 1 2 3\nb 1 nan 3\n", "v:2: expected 3 finite numbers"),
        (b"2 3\na 1 2 3\n", "the 2 words that line 1 speaks of, got 1"),
        (b"a 1 2 3\n\xff\xfe 1 2 3\n", "v:2: expected UTF-8"),
        (binary(breaks=False)[:-4], "the 4 words that line 1 speaks of, got 3"),
        (binary(breaks=True, count=5), "the 5 words that line 1 speaks of, got 4"),
        (b"1 1\na " + struct.pack("<f", math.inf), "word 1 has others"),
        (b"1 2\n" + b"\x00" * 20_000, "word 1 does not end"),
    ],
)
def test_what_is_damaged_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_vectors(tmp_path / "v")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="cannot be read"):
        read_vectors(tmp_path / "nothing")


def test_written_vectors_are_read_back(tmp_path: Path) -> None:
    write_vectors(tmp_path / "v", WordVectors(WORDS, TABLE))
    found = read_vectors(tmp_path / "v")
    assert found.words == WORDS
    np.testing.assert_allclose(found.vectors, TABLE, rtol=1e-6)
    with pytest.raises(ArgumentError, match="without blanks"):
        write_vectors(tmp_path / "v", WordVectors(("a b",), TABLE[:1]))


def test_neighbours_by_hand() -> None:
    vectors = WordVectors(("a", "b", "c", "d"), np.array([[1, 0], [2, 2], [-3, 0], [0, 0]], np.float32))
    near = vectors.near("a", 2)
    assert [n.word for n in near] == ["b", "d"]
    assert near[0].cosine == pytest.approx(math.sqrt(0.5))
    assert vectors.near("a")[-1] == ("c", -1.0)
    with pytest.raises(DataError, match="got 'z'"):
        vectors.near("z")
    with pytest.raises(ArgumentError, match="at least 1"):
        vectors.near("a", 0)


def test_spelling() -> None:
    assert Spelling()("Am 3. Mai ٣") == "Am 3. Mai ٣"
    assert Spelling(lower=True, zeros=True)("Am 31. Mai ٣") == "am 00. mai 0"
