"""Files larger than memory: chunks of whole records, batches that are a pure function, and what is read is the same."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from recurra.core.errors import DataError
from recurra.data import LabelledText, TaggedSentence, read_labelled, read_tagged, streamed
from recurra.data.labelled_documents import stream_labelled
from recurra.data.labelled_text import stream_tagged
from recurra.data.streamed import ShuffledStream, Stream


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "CHUNK", 50)


def texts(path: Path) -> Stream[LabelledText]:
    stream = stream_labelled([path], text_column="text", label_column="label", most=0)
    assert stream is not None
    assert len(stream.chunks) > 2
    return stream


def sentences(path: Path) -> Stream[TaggedSentence]:
    stream = stream_tagged([path], most=0)
    assert stream is not None
    assert len(stream.chunks) > 2
    return stream


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_a_streamed_table_is_the_one_read_at_once(tmp_path: Path, name: str) -> None:
    rows = ["text,label", '"a, long\nand ""quoted"" ', '\ntext",x', '5" disk,y', '"one ""more\n\n""",x', "我爱中国,y"]
    lines = {
        "a.csv": "\n".join([rows[0], *["".join(rows[1:3]), *rows[3:]] * 20]),
        "a.tsv": "\ufefflabel\ttext\n" + 'x\tsome "words"\n\ny\t"two\nlines"\n' * 30,
        "a.jsonl": '{"text": "a b", "label": 1}\n\n{"text": "c\\nd", "label": 2}\n' * 20,
    }[name]
    (tmp_path / name).write_text(lines, encoding="utf-8")
    stream = texts(tmp_path / name)
    assert list(stream) == read_labelled([tmp_path / name])
    sample = stream.sample(300)
    assert 0 < len(sample) < len(list(stream)) // 2
    assert set(sample) <= set(stream)


@pytest.mark.parametrize(
    "text",
    ["-DOCSTART- O\n\n" + "a B\nb I\n\n\nc O\n\n" * 60, "我/s 爱/e\n\n他/b\n" * 40, "我 爱 中国\n他 在 北京 了\n" * 40],
)  # fmt: skip
def test_streamed_sentences_are_those_read_at_once(tmp_path: Path, text: str) -> None:
    (tmp_path / "text").write_text(text, encoding="utf-8")
    assert list(sentences(tmp_path / "text")) == read_tagged([tmp_path / "text"])


def test_a_streamed_folder_of_labels_is_the_one_read_at_once(tmp_path: Path) -> None:
    for label, count in (("x", 30), ("y", 8)):
        (tmp_path / label / "in").mkdir(parents=True)
        for i in range(count):
            (tmp_path / label / ("in" if i % 3 else "") / f"书 {i}.txt").write_text(
                f"text {i}\nof {label}\n", encoding="utf-8"
            )
    (tmp_path / "x" / "empty").touch()
    (tmp_path / "x" / "binary").write_bytes(b"\0\1")
    (tmp_path / "x" / ".hidden").write_text("no")
    stream = texts(tmp_path)
    assert sorted(stream) == sorted(read_labelled([tmp_path]))
    assert {t.label for t in stream.sample(200)} == {"x", "y"}
    (tmp_path / "y" / "bad").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"y/bad: expected UTF-8"):
        list(texts(tmp_path))


def test_sentences_without_an_end_are_refused_before_they_fill_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "_RECORD", 500)
    (tmp_path / "text").write_text("a X\nb Y\n\n" + "a X\n" * 300, encoding="utf-8")
    with pytest.raises(DataError, match=r"text:4: expected the end of what begins here within 500 bytes"):
        sentences(tmp_path / "text")


def test_what_fits_is_no_stream(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,b\n", encoding="utf-8")
    columns = {"text_column": "text", "label_column": "label"}
    assert stream_labelled([tmp_path], **columns, most=100) is None
    assert stream_labelled([tmp_path], **columns, most=1) is not None
    (tmp_path / "folders" / "label").mkdir(parents=True)
    (tmp_path / "folders" / "label" / "a").write_text("0123456789")
    assert stream_labelled([tmp_path / "folders"], **columns, most=10) is None
    both = stream_labelled([tmp_path / "folders", tmp_path / "a.csv"], **columns, most=20)
    assert both is not None
    assert [tuple(t[:2]) for t in both] == [("0123456789", "label"), ("a", "b")]
    assert stream_tagged([tmp_path / "a.csv"], most=100) is None


def test_batches_are_every_record_once_and_go_on_where_they_stopped(tmp_path: Path) -> None:
    lines = [f"{'w' * random.Random(i).randrange(1, 30)}{i},{'xy'[i % 2]}" for i in range(500)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    stream = texts(tmp_path / "a.csv")

    def shuffled() -> ShuffledStream[LabelledText]:
        return ShuffledStream(stream, 7, 3, size=lambda t: len(t.text), keep=lambda t: not t.text.endswith("5"))

    def batches(epoch: int, start: int = 0) -> list[list[LabelledText]]:
        return list(shuffled().batches(epoch, start))

    first = batches(0)
    assert sorted(t.place for batch in first for t in batch) == sorted(
        t.place for t in stream if not t.text.endswith("5")
    )
    assert first == batches(0) != batches(1)
    counted = shuffled()
    assert [counted.count(epoch) for epoch in (0, 1, 2)] == [len(batches(epoch)) for epoch in (0, 1, 2)]
    for start in (1, 20, len(first) - 1):
        assert batches(0, start) == list(counted.batches(0, start)) == first[start:]
    # Not in the order of the file, and the longer beside the longer.
    assert [t for batch in first for t in batch] != sorted((t for batch in first for t in batch), key=lambda t: t.place)
    spread = [max(len(t.text) for t in batch) - min(len(t.text) for t in batch) for batch in first]
    assert sum(spread) / len(spread) < 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\n" + "a,b\n" * 100 + "c\n", "a.csv:102: expected 2 fields"),
        ("text,label\n" + "a,b\n" * 100 + '"c,d\n' + "e,f\n" * 50, "cannot be read"),
        ("text,label\n" + "a,b\n" * 100 + "c," + "x" * 5_000_000, "a.csv:102: expected at most 4,194,304 bytes a line"),
        ("text,label\n" + "a,b\n" * 100 + "c,\n", "a.csv:102: expected a label"),
        ("words,label\n" + "a,b\n" * 100, "expected columns 'text' and 'label'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(texts(tmp_path / "a.csv"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("我 爱\n我 爱 你 们\n".encode() * 90 + "我 爱".encode("gb18030") + b"\n")
    with pytest.raises(DataError, match=r"from byte .* on: expected UTF-8"):
        list(sentences(tmp_path / "text"))
