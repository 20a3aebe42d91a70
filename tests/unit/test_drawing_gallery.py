"""The gallery: all of it is made, and a browser, where there is one, finds nothing that covers anything else."""

from __future__ import annotations

import html
import json
import re
import runpy
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from recurra import cells, wrappers
from recurra.drawing import TOPOLOGIES

ROOT = Path(__file__).parents[2]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MEASURE = """
const wrong = [];
for (const svg of document.querySelectorAll('svg')) {
  const page = svg.getBoundingClientRect();
  const boxes = [...svg.querySelectorAll('.box')].map(b => b.getBoundingClientRect());
  const name = svg.getAttribute('aria-label');
  for (const text of svg.querySelectorAll('text')) {
    const t = text.getBoundingClientRect(), x = (t.left + t.right) / 2, y = (t.top + t.bottom) / 2;
    if (t.left < page.left || t.right > page.right || t.bottom > page.bottom)
      wrong.push([name, text.textContent, 'off the page']);
    for (const b of boxes)
      if (b.left < x && x < b.right && b.top < y && y < b.bottom && (t.left < b.left - 1 || t.right > b.right + 1))
        wrong.push([name, text.textContent, 'wider than its box']);
  }
}
document.body.innerHTML = '';
document.body.setAttribute('data-measured', JSON.stringify({ pictures: COUNT, wrong }));
"""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    runpy.run_path(str(ROOT / "docs" / "make_gallery.py"))["write"](folder)
    return folder


def test_every_cell_wrapper_and_topology_is_in_the_gallery(gallery: Path) -> None:
    text = (gallery / "gallery.md").read_text("utf-8")
    linked = re.findall(r"\]\(([^)]+)\)", text)
    assert len(linked) == len(set(linked))
    assert all((gallery / link).is_file() for link in linked)
    names = {Path(link).stem for link in linked}
    assert {f"cell-{name}" for name in (*cells.names(), *cells.tree_names())} <= names
    assert {f"cell-{name}-of-lstm" for name in wrappers.names()} <= names
    assert {f"topology-{name}" for name in TOPOLOGIES} <= names
    for link in linked:
        ET.parse(gallery / link)


def test_no_formula_has_two_exponents_or_two_indices(gallery: Path) -> None:
    for block in re.findall(r"```math\n(.*?)\n```", (gallery / "gallery.md").read_text("utf-8"), re.DOTALL):
        bare = block
        while re.search(r"\{[^{}]*\}", bare):
            bare = re.sub(r"\{[^{}]*\}", "§", bare)
        assert not re.search(r"_(§|\w)_|\^(§|\w|\\top)\^|'\^|'_§'", bare.replace("'_", "_").replace("_§^", "^")), block


def test_the_committed_gallery_shows_what_it_links_to() -> None:
    text = (ROOT / "docs" / "gallery.md").read_text("utf-8")
    linked = re.findall(r"\]\(([^)]+)\)", text)
    assert len(linked) > 50
    assert all((ROOT / "docs" / link).is_file() for link in linked)


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_a_browser_finds_texts_in_their_boxes(gallery: Path) -> None:
    pictures = sorted((gallery / "images" / "gallery").glob("*.svg"))
    body = "\n".join(picture.read_text("utf-8") for picture in pictures)
    script = MEASURE.replace("COUNT", str(len(pictures)))
    page = gallery / "all.html"
    page.write_text(f'<!doctype html><meta charset="utf-8"><body>{body}<script>{script}</script></body>', "utf-8")
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r'data-measured="([^"]*)"', done.stdout)
    assert found, done.stdout[-500:]
    measured = json.loads(html.unescape(found[1]))
    assert measured["pictures"] == len(pictures)
    assert measured["wrong"] == []
