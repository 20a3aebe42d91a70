"""The bundled texts: there, as their README states, and licensed."""

from __future__ import annotations

import pytest

from recurra.core.errors import UnknownNameError
from recurra.data import SAMPLES, read_documents, sample_path


@pytest.mark.parametrize("name", SAMPLES)
def test_each_bundled_text_is_as_its_readme_states(name):
    (document,) = read_documents([sample_path(name)])
    readme = sample_path(name).with_name("README.md").read_text("utf-8")
    row = next(line for line in readme.splitlines() if line.startswith(f"| `{SAMPLES[name]}`"))
    _, characters, symbols, *_ = (cell.strip() for cell in row.strip("|").split("|"))
    assert characters == f"{len(document.text):,}"
    assert symbols == f"{len(set(document.text)):,}"
    licence = row.split("`")[-2]
    assert "Copyright" in sample_path(name).with_name(licence).read_text("utf-8")


def test_the_plays_are_whole_and_without_what_an_archive_adds():
    text = sample_path("shakespeare").read_text("utf-8")
    assert text.count("by William Shakespeare") == 9
    assert "gutenberg" not in text.lower()
    assert " \n" not in text
    assert "\n\n\n\n" not in text


def test_the_poems_are_three_hundred_different_ones():
    poems = sample_path("tang-poems").read_text("utf-8").removesuffix("\n").split("\n\n")
    assert len(poems) == len(set(poems)) == 300
    for poem in poems:
        _, _, *lines = poem.split("\n")
        assert len(lines) in (2, 4)
        assert {len(line) for line in lines} in ({12}, {16})


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'shakespeare'"):
        sample_path("shakespear")
