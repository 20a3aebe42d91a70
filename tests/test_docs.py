"""The documents say what is so: their code runs, their links lead somewhere, their lists are complete."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command_from_info

import recurra
from recurra.cli.cell_table import cell_table
from recurra.cli.main import make_app
from recurra.scan import cpp_compiler
from recurra.testing import check_cell

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/**/*.md")])
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]


@pytest.mark.parametrize("readme", READMES, ids=lambda p: p.name)
def test_the_readmes_cell_runs_and_keeps_the_laws(readme):
    (block,) = re.findall(r"```python\n(.*?)```", readme.read_text("utf-8"), re.DOTALL)
    names = {}
    exec(block, names)
    assert names["y"].shape == (8, 50, 256)
    check_cell(names["Leaky"], 3, 5)


def test_both_readmes_show_the_same_cell_as_the_example():
    blocks = {re.findall(r"```python\n(.*?)```", readme.read_text("utf-8"), re.DOTALL)[0] for readme in READMES}
    assert len(blocks) == 1
    example = (ROOT / "examples/own_cell.py").read_text("utf-8")
    body = [line for line in blocks.pop().splitlines() if line.startswith("        ")]
    assert len(body) == 8
    assert not [line for line in body if line not in example]


@pytest.mark.parametrize("readme", [*READMES, ROOT / "docs/recipes.md"], ids=lambda p: p.name)
def test_the_readmes_verbs_and_flags_exist(readme):
    blocks = "".join(re.findall(r"```sh\n(.*?)```", readme.read_text("utf-8"), re.DOTALL)).replace("\\\n", " ")
    commands = [shlex.split(line, comments=True) for line in blocks.splitlines() if line.startswith("recurra ")]
    assert len(commands) >= 4
    for _, verb, *rest in commands:
        known = _flags(verb, rest[0])
        assert not [word for word in rest if word.startswith("--") and word not in known], (verb, rest)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(document):
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8"))
    assert not [link for link in links if not (document.parent / link).exists()]


def test_the_architecture_lists_every_room_and_only_files_that_exist():
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    package = ROOT / "src/recurra"
    rooms = {p.name for p in package.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert {name for name in rooms if f"  {name}/" not in text} == set()
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text)
    assert named
    assert not [name for name in named if not (package / name).exists()]


@pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler on this machine")
def test_the_table_of_cells_is_current():
    said = (ROOT / "docs/cells.md").read_text("utf-8")
    assert cell_table(128, 128) == said, "make it anew: recurra cells --markdown > docs/cells.md"


def test_the_changelog_knows_this_version():
    assert f"## {recurra.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f'version = "{recurra.__version__}"' in (ROOT / "pyproject.toml").read_text("utf-8")


def _flags(verb, first):
    app = make_app()
    commands = [c for c in app.registered_commands if _name(c) == verb]
    for group in app.registered_groups:
        if group.name == verb:
            commands = [c for c in group.typer_instance.registered_commands if _name(c) == first]
    (command,) = commands
    made = get_command_from_info(command, pretty_exceptions_short=True, rich_markup_mode=None)
    return {option for parameter in made.params for option in (*parameter.opts, *parameter.secondary_opts)}


def _name(command):
    return command.name or command.callback.__name__
