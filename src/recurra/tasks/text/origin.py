"""What a model of labelled text learned from: noted in config.json, checked, read again, told in its README."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from recurra.core import Stepwise
from recurra.core.errors import ArgumentError, CorruptError, DataError
from recurra.data.word_vectors import WordVectors
from recurra.tasks.contract import CellChoice
from recurra.tasks.text.options import TextOptions
from recurra.tasks.text.pretrained import pretrained, vectors_record

__all__ = ["begin", "check_origin", "fingerprint", "model_readme", "not_empty", "read_again"]

Options = TypeVar("Options", bound=TextOptions)
T = TypeVar("T")
Learning = TypeVar("Learning", bound=Stepwise)

PARTS = ("train", "validation", "test")


def begin(
    options: Options, cell: CellChoice, paths: Sequence[Path], data: Mapping[str, Any], symbols: Sequence[str]
) -> tuple[Options, dict[str, Any], WordVectors | None]:
    """Return the options as they are kept, what config.json says, and the vectors of `symbols` to begin from, if any.

    data: the fingerprint of what was learned from, and what else `read_again` needs.
    """
    vectors = pretrained(options.vectors, symbols) if options.vectors else None
    if vectors is not None:
        size = vectors.vectors.shape[1]
        options = replace(options, vectors=str(Path(options.vectors).absolute()), embedding_size=size)
    config = {
        "options": {**asdict(options), "cell": cell.spec},
        "cell": cell.record,
        "data": dict(data),
        "files": [str(path.absolute()) for path in paths],
    }
    if vectors is not None:
        config["vectors"] = vectors_record(options.vectors, vectors)
    return options, config, vectors


def check_origin(config: Mapping[str, Any], wanted: Iterable[str], path: Path) -> None:
    """Raise CorruptError for a config.json that does not say what its model learned from."""
    data, files = config.get("data"), config.get("files")
    if not isinstance(data, dict) or not isinstance(files, list) or not {"sha256", *wanted} <= set(data):
        raise CorruptError(f"{path}/config.json does not say what was learned from: it is damaged or foreign")


def fingerprint(items: Iterable[Sequence[Any]]) -> str:
    """Return the SHA-256 of what was read: of the first two fields of each item, not of where it stood."""
    whole = json.dumps([item[:2] for item in items])
    return hashlib.sha256(whole.encode()).hexdigest()


def read_again(config: Mapping[str, Any], part: str, read: Callable[[list[Path]], list[T]]) -> list[T]:
    """Read the files of the training run once more, for a part of them.

    Raises DataError where they are gone, or changed since; ArgumentError for a part that there is not.
    """
    if part not in PARTS:
        raise ArgumentError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    items = read([Path(path) for path in config["files"]])
    if fingerprint(items) != config["data"]["sha256"]:  # pyright: ignore[reportArgumentType]
        raise DataError(f"{', '.join(config['files'])} changed since the model was trained: give --data")
    return items


def not_empty(trainable: Learning) -> Learning:
    """Return a trainable that has something to learn from. Raises DataError where all of it is held out."""
    if next(iter(trainable.batches(0)), None) is None:
        raise DataError("expected data to learn from besides what is held out, got the same over again: give more")
    return trainable


def model_readme(
    title: str, about: str, config: Mapping[str, Any], learned: str, held: str, metrics: Mapping[str, float], verbs: str
) -> str:
    """Return the README of a model folder.

    about: what the model does; learned: how much of what it learned from; held: what it was measured on; verbs: how to
    use it.
    """
    lines = [
        f"# {title}",
        "",
        about,
        "",
        f"It learned from {', '.join(Path(file).name for file in config['files'])}: {learned} "
        f"(SHA-256 {config['data']['sha256'][:16]}…).",
        "",
        f"On the {held} kept for validation, which it never learned from:",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {name.replace('_', ' ')} | {value:,.4g} |" for name, value in metrics.items()),
        "",
        verbs,
    ]
    return "\n".join(lines)
