"""Files: whole or not there, and never damaged without notice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recurra.core.errors import ArgumentError, CorruptError, FolderError
from recurra.learning.files import (
    canonical_json,
    parse_json,
    read_bytes,
    read_json,
    remove_partial,
    write_atomically,
    write_json,
)

CONTENT = {"task": "x", "sizes": [1, 2.5, None, True], "text": '唐诗 \n"quoted"', "nested": {"a": {"b": []}}}


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, CONTENT)
    assert read_json(path) == CONTENT
    assert "唐诗" in path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_bit_never_loads_silently(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.json"
    write_json(path, CONTENT)
    good = path.read_bytes()
    place = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[place // 8] ^= 1 << place % 8
    path.write_bytes(bad)
    if json.loads(good) == _lenient(bytes(bad)):
        return  # White space between the values may change: nothing else means the same.
    with pytest.raises(CorruptError) as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def _lenient(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 1}', "'a' stands there twice"),
        ('{"b": {"a": 1, "a": 2}}', "'a' stands there twice"),
        ("[1]", "expected an object, got list"),
        ("7", "expected an object, got int"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"a": 1e999}', "too large a number"),
        ('{"a": ' + "1" * 5000 + "}", "not strict JSON"),
        ('{"a": "\\ud800"}', "not strict JSON"),
        ('{"a": 1', "not strict JSON"),
        ("", "not strict JSON"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("[" * 200_000, "nested too deeply"),
        (b'{"a": "\xff"}', "not strict JSON"),
        (b"\x80\x04\x95", "not strict JSON"),
    ],
)
def test_what_is_not_strict_json_is_refused_in_one_line(text: str | bytes, reason: str) -> None:
    with pytest.raises(CorruptError) as caught:
        parse_json(text, "config.json")
    assert reason in str(caught.value)
    assert str(caught.value).startswith("config.json is damaged or foreign")
    assert "\n" not in str(caught.value)


def test_a_missing_or_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    with pytest.raises(CorruptError, match="checksum does not fit"):
        read_json(path)
    write_json(path, {"a": 1})
    changed = json.loads(path.read_text()) | {"a": 2}
    path.write_text(json.dumps(changed))
    with pytest.raises(CorruptError, match="checksum does not fit"):
        read_json(path)


def test_only_regular_files_of_a_sane_size_are_read(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"there is no file .*complete model folder"):
        read_json(tmp_path / "none.json")
    with pytest.raises(FolderError, match=r"not a regular file|Is a directory"):
        read_bytes(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CorruptError, match="not a regular file"):
        read_bytes(tmp_path / "pipe")
    write_json(tmp_path / "big.json", {"a": "x" * 1000})
    with pytest.raises(CorruptError, match="more than the 100 it may have"):
        read_json(tmp_path / "big.json", limit=100)


def test_json_cannot_hold_everything(tmp_path: Path) -> None:
    for value in (float("nan"), object(), "\ud800", float("inf")):
        with pytest.raises(ArgumentError):
            canonical_json({"a": value})
    with pytest.raises(ArgumentError, match="kept for the checksum"):
        write_json(tmp_path / "a.json", {"sha256": 1})


def test_writing_replaces_links_and_leftovers_and_follows_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("keep")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".a.part").symlink_to(secret)
    (folder / "a").symlink_to(secret)
    write_atomically(folder / "a", b"new")
    assert secret.read_text() == "keep"
    assert (folder / "a").read_bytes() == b"new"
    assert not (folder / "a").is_symlink()
    (folder / ".b.part").write_text("left")
    remove_partial(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["a"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    with pytest.raises(FolderError, match=r"cannot write .*choose a folder"):
        write_atomically(tmp_path / "none" / "a", b"x")
