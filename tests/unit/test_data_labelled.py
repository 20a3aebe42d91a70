"""Readers of tagged and of labelled text: what they give, and the line they name where something is wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from recurra.core.errors import ArgumentError, DataError
from recurra.data import Document, LabelledText, TagFormat, parse_tagged, read_labelled, read_tagged


def tagged(text: str, format: TagFormat = "auto") -> list[tuple[str, str]]:
    return [(" ".join(s.tokens), " ".join(s.tags)) for s in parse_tagged(Document("f", text), format)]


def test_each_format_gives_tokens_and_tags_and_is_recognised() -> None:
    columns = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\nPeter NNP B-PER\n"
    assert tagged(columns) == [("EU rejects", "B-ORG O"), ("Peter", "B-PER")]
    assert tagged("我\tB\n\u3000\tE\n") == [("我 \u3000", "B E")]
    assert tagged("我/s 爱/s 中/b 国/e\n1/2/m\n") == [("我 爱 中 国", "s s b e"), ("1/2", "m")]
    assert tagged("我 爱 中国\n\n他 在 北京大学\n") == [
        ("我 爱 中 国", "S S B E"),
        ("他 在 北 京 大 学", "S S B M M E"),
    ]
    row = "\t".join
    conllu = "# text\n" + "\n".join(
        row([n, word, "_", tag, *"_" * 6])
        for n, word, tag in (("1-2", "du", "_"), ("1", "de", "ADP"), ("2", "le", "DET"))
    )
    assert tagged(conllu + "\n\n") == [("de le", "ADP DET")]
    assert parse_tagged(Document("f", columns))[1].place == "f:7"


@pytest.mark.parametrize(
    ("text", "format", "message"),
    [
        ("a X\nb\n", "columns", "f:2: expected 2 columns as in the lines before, got 1"),
        ("a\nb\n", "columns", "f:1: expected a token and its tag, got 1"),
        ("a\tX\nb\t\n", "columns", "f:2: expected 2 columns"),
        ("a/X\nb/Y c\n", "slash", "f:2: expected token/tag, got 'c' as piece 2"),
        ("1\ta\n", "conllu", "f:1: expected the ten columns"),
        ("x" * 1_000_001, "segmented", "f:1: expected at most 1,000,000 characters"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, format: TagFormat, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_tagged(Document("f", text), format)
    assert str(caught.value).startswith(message)


def test_no_sentences_and_unknown_formats(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("\n\n")
    with pytest.raises(DataError, match="found none"):
        read_tagged([tmp_path / "f"])
    with pytest.raises(ArgumentError, match="format must be one of auto, columns"):
        parse_tagged(Document("f", "a"), "xml")  # pyright: ignore[reportArgumentType]


def labelled(folder: Path, name: str, content: str, **columns: str) -> list[LabelledText]:
    (folder / name).write_text(content, encoding="utf-8")
    return [
        LabelledText(t.text, t.label, t.place.rpartition("/")[2]) for t in read_labelled([folder / name], **columns)
    ]


def test_tables_give_texts_and_labels(tmp_path: Path) -> None:
    found = labelled(tmp_path, "a.csv", 'id,text,label\n1,"good, really\ngood",pos\n2,bad,neg\n')
    assert found == [("good, really\ngood", "pos", "a.csv:2"), ("bad", "neg", "a.csv:4")]
    assert labelled(tmp_path, "a.tsv", "y\tx\n0\tno\n", text_column="x", label_column="y") == [("no", "0", "a.tsv:2")]
    assert labelled(tmp_path, "a.jsonl", '{"text": "好", "label": 1}\n\n') == [("好", "1", "a.jsonl:1")]


def test_a_text_may_have_several_labels(tmp_path: Path) -> None:
    found = labelled(tmp_path, "a.csv", "text,label\na,x; y;x\nb,\n", separator=";")
    assert [LabelledText(*t).labels(";") for t in found] == [("x", "y"), ()]
    found = labelled(tmp_path, "a.jsonl", '{"text": "a", "label": ["x", "y"]}\n', separator="|")
    assert [t.label for t in found] == ["x|y"]


def test_a_folder_a_label(tmp_path: Path) -> None:
    for label, text in (("pos", "good\n"), ("neg", "bad")):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.txt").write_text(text)
    assert [(t.text, t.label) for t in read_labelled([tmp_path])] == [("bad", "neg"), ("good", "pos")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "a,b\n1,2\n", "a.csv: expected columns 'text' and 'label', got a, b"),
        ("a.csv", "text,text,label\n", "a.csv: the column 'text' is there 2 times"),
        ("a.csv", "text,label\na,b\nc,d,e\n", "a.csv:3: expected 2 fields as in the first line, got 3"),
        ("a.csv", 'text,label\n"a"b,c\n', "a.csv:2: cannot be read"),
        ("a.csv", "text,label\n", "expected texts with labels, found none"),
        ("a.csv", "text,label\n ,b\n", "a.csv:2: expected a text, got an empty one"),
        ("a.tsv", "text\tlabel\na\t\n", "a.tsv:2: expected a label, got an empty one"),
        ("a.jsonl", "{\n", "a.jsonl:1: expected one JSON object"),
        ("a.jsonl", "3\n", "a.jsonl:1: expected a JSON object, got int"),
        ("a.jsonl", '{"text": 3, "label": 1}\n', "a.jsonl:1: expected 'text' to be a text"),
        ("a.txt", "x", "a.txt: expected a file ending in .csv, .tsv, .jsonl"),
    ],
)
def test_what_is_wrong_with_a_table_is_named_with_its_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        labelled(tmp_path, name, content)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\n" + "y" * 200_000 + ",b\n" + "x" * 2_000_000 + ",b\n", "a.csv:3: expected a text of"),
        ("a.jsonl", '{"text": "ab\\ud800", "label": "c"}\n', "a.jsonl:1: expected a text that UTF-8 can hold"),
        ("a.jsonl", '{"text": "ab", "label": "\\udfff"}\n', "a.jsonl:1: expected a label that UTF-8 can hold"),
    ],
)  # fmt: skip
def test_texts_that_nobody_can_read_are_named_with_their_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_labelled([tmp_path / name])
    assert message in str(caught.value)
    assert csv.field_size_limit() == 131072
