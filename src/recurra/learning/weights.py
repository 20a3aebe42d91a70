"""Tensors in one safetensors file with a checksum over every byte of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from recurra.core.errors import CorruptError
from recurra.learning.files import canonical_json, parse_json, read_bytes, write_atomically

__all__ = ["HEADER_LIMIT", "check_finite", "encode_tensors", "load_tensors", "save_tensors"]

HEADER_LIMIT = 64 * 2**20
"""Most bytes the header of a file may have."""

_BLANK = b"0" * 64
_CHECKSUM = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive, as torch.save writes it with pickles inside"),
    (b"\x80\x02", "a PyTorch pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\x89HDF", "an HDF5 file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """Write named tensors and a JSON object atomically to a safetensors file; see `encode_tensors`."""
    write_atomically(path, encode_tensors(tensors, metadata))


def encode_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> bytes:
    """Return the bytes of a safetensors file that any reader of the format can read.

    Its `__metadata__` holds `metadata` (a JSON object, as text) and `sha256`: the checksum of the whole file, with
    the 64 digits of the checksum itself taken as zeros. Tensors that share memory are written each for itself.
    """
    text = canonical_json(dict(metadata or {})).decode()
    # A checkpoint may be large: two copies of it are held at a time, and no more.
    data = safetensors.torch.save(_apart(tensors), {"metadata": text, "sha256": _BLANK.decode()})
    # The library orders the metadata as it likes; ours is one spelling, so that equal content is equal bytes,
    # and the checksum stands first, so that the zeros replaced below are its own.
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    spelled = json.dumps(
        {"__metadata__": {"sha256": _BLANK.decode(), "metadata": text}}
        | {name: header[name] for name in sorted(header) if name != "__metadata__"},
        separators=(",", ":"),
    ).encode()
    spelled += b" " * (-len(spelled) % 8)
    whole = bytearray(len(spelled).to_bytes(8, "little") + spelled)
    whole += memoryview(data)[8 + size :]
    del data
    at = whole.index(_BLANK)
    whole[at : at + len(_BLANK)] = hashlib.sha256(whole).hexdigest().encode()
    return bytes(whole)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on the CPU, each with memory of its own; none is copied that has it."""
    found: dict[str, Tensor] = {}
    seen = set[int]()
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu").contiguous()
        storage = plain.untyped_storage()
        shared = storage.data_ptr() in seen or storage.nbytes() != plain.nbytes
        found[name] = plain.clone() if shared else plain
        seen.add(storage.data_ptr())
    return found


def load_tensors(path: Path, *, finite: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote: `(tensors, metadata)`, the tensors on the CPU.

    finite: refuse NaN and infinite values, as in the weights of a model.
    Raises FolderError if there is no file, CorruptError if it is truncated, changed, foreign or malicious.
    """
    data = read_bytes(path)
    metadata = _read_header(path, data).get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("metadata"), str) or "sha256" not in metadata:
        raise CorruptError(f"{path} carries no checksum of recurra's: it was written or rewritten by another program")
    _check_checksum(path, data)
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CorruptError(f"{path} is no valid safetensors file: {str(error).splitlines()[0]}") from error
    if finite:
        check_finite(tensors, str(path))
    return tensors, parse_json(metadata["metadata"], f"the metadata of {path}")


def check_finite(tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise CorruptError if a floating-point tensor holds NaN or an infinite value; `name` is what holds them."""
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CorruptError(f"{name}: the tensor {key!r} holds NaN or infinite values: train anew or take a backup")


def _read_header(path: Path, data: bytes) -> dict[str, Any]:
    """Return the header, or say what the file is instead, or where it was cut off."""
    if data[8:9] != b"{":
        for magic, what in _FOREIGN:
            if data.startswith(magic):
                raise CorruptError(
                    f"{path} is {what}; expected safetensors: recurra never unpickles, so convert it where you trust it"
                )
    if len(data) < 8:
        raise CorruptError(f"{path} is truncated: it has {len(data)} bytes, not even the 8 of the header's length")
    size = int.from_bytes(data[:8], "little")
    if size > HEADER_LIMIT:
        raise CorruptError(f"{path} is no safetensors file: its header would have {size} bytes")
    rest = len(data) - 8 - size
    if rest < 0:
        raise CorruptError(f"{path} is truncated: its header has {size} bytes, but only {len(data) - 8} are there")
    header = parse_json(data[8 : 8 + size], f"the header of {path}")
    try:
        needed = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        truncated = needed > rest
    except (TypeError, KeyError, IndexError) as error:
        raise CorruptError(f"the header of {path} describes no tensors: it is damaged or foreign") from error
    if truncated:
        raise CorruptError(f"{path} is truncated: its tensors need {needed} bytes, but only {rest} are there")
    return header


def _check_checksum(path: Path, data: bytes) -> None:
    size = int.from_bytes(data[:8], "little")
    found = list(_CHECKSUM.finditer(data, 8, 8 + size))
    if len(found) != 1:
        raise CorruptError(f"{path} carries no checksum of recurra's: it was written or rewritten by another program")
    digits = found[0].span(1)
    digest = hashlib.sha256(data[: digits[0]])
    digest.update(_BLANK)
    digest.update(memoryview(data)[digits[1] :])
    if digest.hexdigest().encode() != found[0].group(1):
        raise CorruptError(f"{path} was changed or damaged after it was written: its checksum does not fit")
