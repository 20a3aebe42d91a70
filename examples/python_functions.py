"""Python's standard library as data: does a character model learn grammar? `ast.parse` is the judge.

Every `def` of the standard library (tests apart) is found by `ast`, dedented, and kept if it has at most 600
characters; equal ones are kept once. They are shuffled and written to one text, each ended by a form feed. A recurrent
language model and a 5-gram (Witten-Bell) learn the same 95 % of it. Each then writes the same number of functions at
the same temperature: from "def " on to the form feed. A function is accepted if it ended within 600 characters and
`ast.parse` takes it.

Short functions parse easily (`def f(self): pass`), so the share is given a second time for samples of at least 100
characters alone; and since what is learned by heart parses too, the share of accepted samples that stand in the data
word for word is given beside.

    python examples/python_functions.py --steps 3000 --functions 200
"""

from __future__ import annotations

import argparse
import ast
import random
import sysconfig
import tempfile
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from recurra.data import NGram, read_documents, split
from recurra.decoding import Sampler, free_run
from recurra.learning import RichProgress, TrainerOptions
from recurra.tasks.contract import train
from recurra.tasks.language_model import LanguageModel, LanguageModelOptions

__all__ = ["count", "functions_in", "library_functions", "main", "parses", "write_by_counts", "write_by_network"]

END = "\f"
PROMPT = "def "
LONGEST = 600
LONG = 100


def library_functions(files: int | None = None) -> list[str]:
    """Return the different functions of the standard library's first so many files (None: all), in sorted order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
    found = [p for p in sorted(root.rglob("*.py")) if not left_out & set(p.relative_to(root).parts)]
    return sorted({function for path in found[:files] for function in functions_in(path)})


def functions_in(path: Path) -> Iterator[str]:
    """Yield the source of a file's functions and methods, without decorators, each dedented."""
    try:
        source = path.read_text(encoding="utf-8")
        tree = _parse(source)
    except (SyntaxError, ValueError):
        return  # Templates and examples of bad code lie among the library's files.
    # Not splitlines: a form feed ends no line for the parser, whose line numbers these are.
    lines = source.split("\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            function = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno])) + "\n"
            if parses(function) and END not in function:
                yield function


def parses(function: str) -> bool:
    """Tell whether Python's own parser takes a text."""
    try:
        _parse(function)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def write_by_network(model: LanguageModel, functions: int, temperature: float, seed: int) -> list[str]:
    """Return functions written by the recurrent model, all at once, as rows of one batch."""
    prompt = torch.as_tensor(model.vocabulary.encode(END + PROMPT)).expand(functions, -1)
    end = int(model.vocabulary.encode(END)[0])
    choose = Sampler(temperature, seed=seed)
    ids = torch.stack(list(free_run(model.network, prompt, LONGEST, choose, end)), 1)
    return [PROMPT + model.vocabulary.decode(row) for row in ids]


def write_by_counts(model: LanguageModel, counts: NGram, functions: int, temperature: float, seed: int) -> list[str]:
    """Return functions written by an n-gram model over the same vocabulary."""
    start, end = model.vocabulary.encode(END + PROMPT).tolist(), int(model.vocabulary.encode(END)[0])
    generator = np.random.default_rng(seed)
    written: list[str] = []
    for _ in range(functions):
        ids = list(start)
        while ids[-1] != end and len(ids) < len(start) + LONGEST:
            p = counts.probabilities(ids[-counts.order + 1 :]) ** (1 / temperature)
            ids.append(int(generator.choice(len(p), p=p / p.sum())))
        written.append(model.vocabulary.decode(ids[1:]))
    return written


def count(written: list[str], known: set[str]) -> str:
    """Return the shares of written functions that parse, as a row of the table."""
    texts = [text.partition(END)[0] for text in written]
    accepted = [END in text and parses(body) for text, body in zip(written, texts, strict=True)]
    long = [good for good, body in zip(accepted, texts, strict=True) if len(body) >= LONG]
    copied = sum(good and body in known for good, body in zip(accepted, texts, strict=True))
    return (
        f"{_share(sum(accepted), len(written)):>18} {_share(sum(long), len(long)):>18} "
        f"{_share(copied, sum(accepted)):>18}"
    )


def main() -> None:
    """Make the data, train, let both models write, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000, help="updates to make")
    parser.add_argument("--functions", type=int, default=200, help="functions to write with each model")
    parser.add_argument("--cell", default="lstm", help="a registered cell, or FILE.py:Class")
    parser.add_argument("--hidden-size", type=int, default=128, help="units in each of the two layers")
    parser.add_argument("--temperature", type=float, default=0.7, help="of both models' sampling")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the data, the training and the sampling")
    parser.add_argument("--files", type=int, help="read only so many files of the library (to try the script)")
    parser.add_argument("--out", type=Path, help="keep the model folder here (default: thrown away)")
    chosen = parser.parse_args()

    everything = library_functions(chosen.files)
    functions = [function for function in everything if len(function) <= LONGEST]
    random.Random(chosen.seed).shuffle(functions)
    print(f"{len(everything):,} different functions, {len(functions):,} of at most {LONGEST} characters")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "functions.txt")
        data.write_text(END + END.join(functions) + END, encoding="utf-8")
        options = LanguageModelOptions(cell=chosen.cell, hidden_size=chosen.hidden_size)
        training = TrainerOptions(steps=chosen.steps, schedule="cosine", seed=chosen.seed)
        out = chosen.out or Path(folder, "model")
        run = train(
            LanguageModel, "language-model", options, training, [data], out, overwrite=True, progress=RichProgress()
        )
        parts = split(read_documents([data]), validation=options.validation)
    model = run.model
    assert isinstance(model, LanguageModel)
    counts = NGram(5, model.vocabulary.size).fit(model.encode(parts.train))
    nats, tokens = counts.nats(model.encode(parts.validation))
    by_network = write_by_network(model, chosen.functions, chosen.temperature, chosen.seed)
    by_counts = write_by_counts(model, counts, chosen.functions, chosen.temperature, chosen.seed)

    known = set(functions)
    name = f"{model.config['cell']['name']}, {chosen.steps} steps"
    print(f"\nOne of the network's functions:\n\n{max(by_network, key=_interest).partition(END)[0]}")
    print(
        f"{chosen.functions} functions from each model, temperature {chosen.temperature:g}, seed {chosen.seed}; "
        "nats a character on the same 5 % of the text"
    )
    print(f"{'':20} {'nats':>6} {'accepted':>18} {f'of {LONG}+ characters':>18} {'of those accepted,':>18}")
    print(f"{'':20} {'':>6} {'by ast.parse':>18} {'accepted':>18} {'copied whole':>18}")
    print(f"{name:20} {run.metrics['nats']:6.3f} {count(by_network, known)}")
    print(f"{'5-gram':20} {nats / tokens:6.3f} {count(by_counts, known)}")


def _parse(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Odd escapes in strings.
        return ast.parse(source)


def _share(part: int, whole: int) -> str:
    return f"{part}/{whole} = {part / whole:.1%}" if whole else "0/0"


def _interest(text: str) -> int:
    """The longest function that is right is the one to show."""
    body, end, _ = text.partition(END)
    return len(body) if end and parses(body) else 0


if __name__ == "__main__":
    main()
