"""Reading text: what is taken, what is passed over, and one line for all that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recurra.core.errors import DataError
from recurra.data import Document, digest, read_documents

CHINESE = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n"
TRADITIONAL = "春眠不覺曉，處處聞啼鳥。夜來風雨聲，花落知多少。\n"
JAPANESE = "吾輩は猫である。名前はまだ無い。\n"
FRENCH = "Le café est très bon, à bientôt.\n"


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def refusal(*paths: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        read_documents(paths, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_files_are_documents_in_the_order_named(tmp_path):
    one, two = write(tmp_path / "1.txt", b"one"), write(tmp_path / "2", CHINESE.encode())
    assert read_documents([two, str(one)]) == [Document(str(two), CHINESE), Document(str(one), "one")]


def test_a_folder_is_walked_in_order_past_hidden_empty_and_binary_files(tmp_path):
    for name, data in {
        "b.txt": b"b",
        "c.txt": b"c",
        "B.txt": b"B",
        "a/z.py": b"z",
        "a/deep/y.md": b"y",
        ".hidden": b"no",
        ".git/config": b"no",
        "empty": b"",
        "a/picture.png": b"\x89PNG\0\xff",
    }.items():
        write(tmp_path / name, data)
    texts = [(Path(d.name).relative_to(tmp_path).as_posix(), d.text) for d in read_documents([tmp_path])]
    assert texts == [("B.txt", "B"), ("b.txt", "b"), ("c.txt", "c"), ("a/z.py", "z"), ("a/deep/y.md", "y")]
    (only,) = read_documents([tmp_path], suffixes=[".py", ".rs"])
    assert only.text == "z"


def test_a_loop_of_links_ends_and_a_file_reached_twice_is_read_once(tmp_path):
    file = write(tmp_path / "text", b"abc")
    (tmp_path / "again").symlink_to(file)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [d.text for d in read_documents([tmp_path, file, tmp_path])] == ["abc"]


def test_the_byte_order_mark_goes_line_ends_are_unified_and_nothing_else_changes(tmp_path):
    text = "\ufeffe\u0301 \u00e9\r\nold\rmac\n\ufeff\tend \n\n"
    file = write(tmp_path / "t", text.encode("utf-8"))
    assert read_documents([file])[0].text == "e\u0301 \u00e9\nold\rmac\n\ufeff\tend \n\n"


def test_what_is_missing_empty_or_no_file_is_said(tmp_path):
    assert "nothing is there" in refusal(tmp_path / "missing")
    assert "nothing is there" in refusal(Path("a" * 5000))
    assert "nothing is there" in refusal(Path("a\0b"))
    assert "file is empty" in refusal(write(tmp_path / "empty", b""))
    assert "byte order mark" in refusal(write(tmp_path / "mark", b"\xef\xbb\xbf"))
    assert "at least one" in refusal()
    os.mkfifo(tmp_path / "pipe")
    assert "neither" in refusal(tmp_path / "pipe")


def test_a_folder_without_text_is_said(tmp_path):
    assert "found no text file" in refusal(tmp_path)
    write(tmp_path / "picture", b"a\0b")
    write(tmp_path / "empty", b"")
    assert "found no text file" in refusal(tmp_path)
    write(tmp_path / "a.txt", b"text")
    assert "found no file ending in .py or .rs" in refusal(tmp_path, suffixes=[".py", ".rs"])


def test_a_nul_byte_in_a_file_that_was_named_is_said(tmp_path):
    assert "NUL byte at offset 3" in refusal(write(tmp_path / "b", b"abc\0def"))


@pytest.mark.parametrize(
    ("text", "encoding", "suggestion"),
    [
        (CHINESE, "gb18030", "gb18030"),
        (TRADITIONAL, "big5", "big5"),
        (JAPANESE, "shift_jis", "shift_jis"),
        (FRENCH, "latin-1", "cp1252"),
        ("“Œuvre” – déjà vu\n", "cp1252", "cp1252"),
        (FRENCH, "utf-16", "utf-16"),
        (CHINESE, "utf-32", "utf-32"),
    ],
)
def test_another_encoding_is_named_with_the_bytes_offset(tmp_path, text, encoding, suggestion):
    start = b"" if encoding.startswith("utf") else b"plain ASCII\n" * 20_000
    data = start + text.encode(encoding)
    with pytest.raises(UnicodeDecodeError) as strict:
        data.decode("utf-8")
    message = refusal(write(tmp_path / "t", data))
    offset = strict.value.start
    assert f"expected UTF-8, got byte 0x{data[offset]:02X} at byte offset {offset}" in message
    assert f"reads as {suggestion};" in message
    assert text.encode(encoding).decode(suggestion) == text


def test_the_encoding_is_also_said_for_a_file_of_a_folder(tmp_path):
    write(tmp_path / "good.txt", b"good")
    write(tmp_path / "notepad.txt", FRENCH.encode("utf-16"))
    assert "notepad.txt: expected UTF-8" in refusal(tmp_path)


def test_a_damaged_byte_in_utf8_suggests_no_other_encoding(tmp_path):
    data = bytearray((CHINESE * 3).encode())
    data[40] = 0xFF
    assert "reads as no other known encoding" in refusal(write(tmp_path / "t", bytes(data)))


def test_bytes_that_read_as_signs_only_suggest_no_encoding(tmp_path):
    assert "reads as no other known encoding" in refusal(write(tmp_path / "t", b"\xac \xa6 \xac\n"))


def test_lone_surrogates_are_said(tmp_path):
    assert "lone surrogate at byte offset 2" in refusal(write(tmp_path / "t", b"ab\xed\xa0\x80c"))
    assert "lone surrogate" not in refusal(write(tmp_path / "u", b"ab\xed"))


@pytest.mark.skipif(not os.path.isfile("/proc/self/mem"), reason="needs a file that even root cannot read")
def test_what_cannot_be_read_is_said():
    assert "cannot be read" in refusal(Path("/proc/self/mem"))


def test_the_digest_is_of_texts_and_their_borders():
    def of(*texts: str) -> str:
        return digest([Document(str(number), text) for number, text in enumerate(texts)])

    assert of("ab", "c") == digest([Document("x", "ab"), Document("y", "c")])
    assert len({of("ab", "c"), of("a", "bc"), of("abc"), of("c", "ab")}) == 4
