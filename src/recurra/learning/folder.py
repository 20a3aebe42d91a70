"""The model folder: every file has a fixed name, a checksum and one writer at a time.

    config.json          what the model is: `format_version`, `task`, and the task's own entries
    model.safetensors    the best weights so far
    vocabulary.json      what the tokens are, where the task has any
    metrics.jsonl        how training went, one JSON object a line
    learning-curve.svg   the same as a picture
    README.md            all of it, for people
    checkpoints/         what resuming needs, and the lock

No file name is ever taken from what the folder holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from recurra.core.errors import ArgumentError, CorruptError, FolderError, MismatchError
from recurra.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from recurra.learning.files import (
    parse_json,
    read_bytes,
    read_json,
    remove_partial,
    write_atomically,
    write_failure,
    write_json,
)
from recurra.learning.lock import FolderLock
from recurra.learning.weights import load_tensors, save_tensors

__all__ = ["FORMAT_VERSION", "ModelFolder"]

FORMAT_VERSION = 1
_FILES = ("config.json", "model.safetensors", "vocabulary.json", "metrics.jsonl", "learning-curve.svg", "README.md")
_CHECKPOINT = re.compile(r"step-(\d{9,18})\.safetensors")
_KEPT = 2


class ModelFolder:
    """A folder that holds a trained model, or one in training.

        with ModelFolder.create("out", overwrite=False) as folder: ...   # new, and locked
        with ModelFolder.resume("out") as folder: ...                    # goes on, and locked
        folder = ModelFolder.open("out")                                 # to read, not locked

    Every method raises FolderError (CorruptError, MismatchError, BusyError) with one line that says what to do.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.metrics_path = self.path / "metrics.jsonl"
        self._checkpoints = self.path / "checkpoints"
        self._lock = FolderLock(self._checkpoints / "lock", self.path)

    @classmethod
    def create(cls, path: str | Path, *, overwrite: bool = False) -> ModelFolder:
        """Make a folder and lock it. One that holds a model is refused without `overwrite`; other files always."""
        folder = cls(path)
        folder._refuse_used(overwrite)
        folder._take()
        try:
            folder._refuse_used(overwrite)  # Another run may have been quicker.
            folder._empty()
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def resume(cls, path: str | Path) -> ModelFolder:
        """Lock the folder of a run that is to go on."""
        folder = cls.open(path)
        folder._take()
        try:
            remove_partial(folder.path)
            remove_partial(folder._checkpoints)
        except OSError as error:
            folder.close()
            raise write_failure(folder.path, error, 0) from error
        return folder

    @classmethod
    def open(cls, path: str | Path) -> ModelFolder:
        """Return the folder of a model that exists, to read it."""
        folder = cls(path)
        if not folder.path.exists():
            raise FolderError(f"there is no folder {folder.path}: expected the model folder that training wrote")
        if not (folder.path / "config.json").is_file():
            raise FolderError(f"{folder.path} is no model folder: it has no config.json; give what training wrote to")
        return folder

    def close(self) -> None:
        """Give up the lock."""
        self._lock.release()

    def __enter__(self) -> ModelFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Hold the lock for a while; inside `create` or `resume`, which hold it already, this changes nothing."""
        if self._lock.held:
            yield
            return
        self._take()
        try:
            yield
        finally:
            self._lock.release()

    def write_config(self, task: str, content: Mapping[str, Any]) -> None:
        """Write config.json: `format_version`, `task`, then the task's own entries."""
        for key in ("format_version", "task"):
            if key in content:
                raise ArgumentError(f"the key {key!r} of config.json is kept for the folder: use another name")
        write_json(self.path / "config.json", {"format_version": FORMAT_VERSION, "task": task, **content})

    def read_config(self, task: str | None = None) -> dict[str, Any]:
        """Return config.json with `format_version` and `task`; `task`: refuse the folder of another one."""
        path = self.path / "config.json"
        content = read_json(path)
        version, found = content.get("format_version"), content.get("task")
        if not isinstance(version, int) or isinstance(version, bool) or not isinstance(found, str):
            raise CorruptError(f"{path} lacks format_version or task: it is damaged or foreign")
        if version != FORMAT_VERSION:
            advice = "upgrade recurra" if version > FORMAT_VERSION else "use the recurra it was trained with"
            raise MismatchError(
                f"{self.path} has format {version}, this recurra reads format {FORMAT_VERSION}: {advice}"
            )
        if task is not None and found != task:
            raise MismatchError(
                f"{self.path} holds a model of the task {found!r}, expected {task!r}: give another folder"
            )
        return content

    def write_model(self, weights: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> None:
        """Write model.safetensors."""
        save_tensors(self.path / "model.safetensors", weights, metadata)

    def read_model(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the weights, all finite, and what was noted with them (`step`, `val_loss`)."""
        return load_tensors(self.path / "model.safetensors", finite=True)

    def write_vocabulary(self, content: Mapping[str, Any]) -> None:
        """Write vocabulary.json."""
        write_json(self.path / "vocabulary.json", content)

    def read_vocabulary(self) -> dict[str, Any]:
        """Return vocabulary.json."""
        return read_json(self.path / "vocabulary.json")

    def write_readme(self, text: str) -> None:
        """Write README.md; its checksum stands at the end, in a comment that Markdown does not show."""
        body = text.rstrip("\n") + "\n"
        digest = hashlib.sha256(body.encode()).hexdigest()
        write_atomically(self.path / "README.md", f"{body}\n<!-- sha256 of the text above: {digest} -->\n".encode())

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl; a last line that a killed run left unfinished is passed over."""
        *lines, _ = read_bytes(self.metrics_path).split(b"\n")
        return [parse_json(line, f"line {i} of {self.metrics_path}") for i, line in enumerate(lines, 1)]

    def save_checkpoint(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, then remove all but the last two."""
        path = self._checkpoints / f"step-{checkpoint.counters.step:09d}.safetensors"
        save_checkpoint(path, checkpoint)
        for old in self._list_checkpoints()[_KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def load_checkpoint(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest whole checkpoint, None if there are none at all, and what was wrong with newer ones.

        Raises CorruptError if there are checkpoints, but none can be loaded.
        """
        damage: list[str] = []
        paths = self._list_checkpoints()
        for path in paths:
            try:
                checkpoint = load_checkpoint(path)
                self._check_metrics(path, checkpoint)
            except CorruptError as error:
                damage.append(str(error))
            else:
                return checkpoint, damage
        if paths:
            raise CorruptError(f"no checkpoint of {self.path} can be loaded: {damage[0]}; train anew with --overwrite")
        return None, []

    def remove_checkpoints_after(self, step: int) -> None:
        """Remove the checkpoints that are newer than the one a run goes on from: they were damaged."""
        for path in self._list_checkpoints():
            if int(path.stem.removeprefix("step-")) > step:
                path.unlink(missing_ok=True)

    def _take(self) -> None:
        """Make the folders, and lock them."""
        if self._checkpoints.is_symlink():
            raise FolderError(f"{self._checkpoints} is a link, expected a folder: copy the model folder anew")
        try:
            self._checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_failure(self.path, error, 0) from error
        self._lock.acquire()

    def _list_checkpoints(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        if not self._checkpoints.is_dir():
            return []
        found = [path for path in self._checkpoints.iterdir() if _CHECKPOINT.fullmatch(path.name)]
        return sorted(found, key=lambda path: int(path.stem.removeprefix("step-")), reverse=True)

    def _check_metrics(self, path: Path, checkpoint: Checkpoint) -> None:
        """A checkpoint is only whole together with the lines that were written before it."""
        data = read_bytes(self.metrics_path) if self.metrics_path.exists() else b""
        size = checkpoint.metrics_bytes
        if not 0 <= size <= len(data):
            raise CorruptError(f"{self.metrics_path} has {len(data)} bytes, but {path.name} was saved after {size}")
        if hashlib.sha256(data[:size]).hexdigest() != checkpoint.metrics_sha256:
            raise CorruptError(f"{self.metrics_path} was changed after {path.name} was saved")

    def _refuse_used(self, overwrite: bool) -> None:
        try:
            present = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set[str]()
        except NotADirectoryError as error:
            raise FolderError(f"{self.path} is a file, expected a folder to write the model to") from error
        except OSError as error:
            raise FolderError(f"cannot read {self.path}: {error.strerror}; choose another folder") from error
        own = {name for name in present if name in _FILES or name == "checkpoints" or name.endswith(".part")}
        if "config.json" in present and not overwrite:
            raise FolderError(
                f"{self.path} already holds a model: give --resume to go on, or --overwrite to replace it"
            )
        if "config.json" not in present and present - own:
            other = min(present - own)
            raise FolderError(
                f"{self.path} holds other files ({other!r}): choose a new or an empty folder for the model"
            )

    def _empty(self) -> None:
        """Remove the model that is there, config.json last, so that a killed start can be repeated."""
        try:
            for path in self._list_checkpoints():
                path.unlink()
            for name in reversed(_FILES):
                (self.path / name).unlink(missing_ok=True)
            remove_partial(self.path)
            remove_partial(self._checkpoints)
        except OSError as error:
            raise write_failure(self.path, error, 0) from error
