"""Weights: bit for bit back, and never from a damaged, foreign or malicious file."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from recurra.core.errors import CorruptError, FolderError
from recurra.learning.weights import encode_tensors, load_tensors, save_tensors


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(3, 4, generator=generator)
    return {
        "weight": weight,
        "tied": weight,
        "transposed": weight.t(),
        "half": weight.to(torch.bfloat16),
        "double": weight.double(),
        "step": torch.tensor(7.0),
        "mask": torch.tensor([True, False]),
        "rng": torch.arange(5, dtype=torch.uint8),
        "count": torch.tensor(2**62),
        "empty": torch.zeros(0, 3),
    }


METADATA = {"步": 1, "loss": 0.1 + 0.2, "decoy": '"sha256":"' + "0" * 64 + '"', "zeros": "0" * 64}


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", tensors(), METADATA)
    loaded, metadata = load_tensors(tmp_path / "a")
    assert metadata == METADATA
    assert loaded.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor), name


def test_any_reader_of_the_format_can_read_it_and_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    data = encode_tensors(tensors(), METADATA)
    assert data == encode_tensors(dict(reversed(tensors().items())), METADATA)
    assert torch.equal(safetensors.torch.load(data)["weight"], tensors()["weight"])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_bit_never_loads(tmp_path: Path, data: st.DataObject) -> None:
    bad = bytearray(encode_tensors(tensors(), METADATA))
    place = data.draw(st.integers(0, len(bad) * 8 - 1))
    bad[place // 8] ^= 1 << place % 8
    (tmp_path / "a").write_bytes(bad)
    with pytest.raises(CorruptError) as caught:
        load_tensors(tmp_path / "a")
    assert "\n" not in str(caught.value)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_truncated_or_longer_file_never_loads(tmp_path: Path, data: st.DataObject) -> None:
    good = encode_tensors(tensors(), METADATA)
    size = data.draw(st.integers(0, len(good) - 1))
    (tmp_path / "a").write_bytes(good[:size])
    with pytest.raises(CorruptError, match="truncated"):
        load_tensors(tmp_path / "a")
    (tmp_path / "a").write_bytes(good + b"\0")
    with pytest.raises(CorruptError, match="checksum"):
        load_tensors(tmp_path / "a")


def test_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"x" * 100)
    with pytest.raises(CorruptError, match=r"zip archive, as torch\.save .* never unpickles"):
        load_tensors(path)
    for protocol in (2, 3, 4, 5):
        path.write_bytes(pickle.dumps({"weight": list(range(100))}, protocol))
        with pytest.raises(CorruptError, match=r"pickle; expected safetensors: recurra never unpickles"):
            load_tensors(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(CorruptError, match="Git LFS"):
        load_tensors(path)
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(2)}))
    with pytest.raises(CorruptError, match="carries no checksum"):
        load_tensors(path)
    with pytest.raises(FolderError, match="there is no file"):
        load_tensors(tmp_path / "none")


def crafted(header: str, data: bytes = b"") -> bytes:
    """A file with a checksum that fits, whatever its header says."""
    whole = len(header.encode()).to_bytes(8, "little") + header.encode() + data
    return whole.replace(b"0" * 64, hashlib.sha256(whole).hexdigest().encode(), 1)


META = '"__metadata__":{"sha256":"' + "0" * 64 + '","metadata":"{}"}'


def test_a_crafted_file_like_ours_loads(tmp_path: Path) -> None:
    tensor = '"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    (tmp_path / "a").write_bytes(crafted(f"{{{META},{tensor}}}", b"\0\0\x80?"))
    assert load_tensors(tmp_path / "a")[0]["w"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (f'{{{META},"w":{{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}}}', b"1234"),
        (f'{{{META},"w":{{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}}}', b"1234"),
        (f'{{{META},"w":{{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}}}', b"1234"),
        (f'{{{META},"w":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}', b"12345678"),
        (f'{{{META},"w":{{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}}}}', b"1234"),
        (f'{{{META},"w":{{"dtype":"F32","shape":[1],"data_offsets":"x"}}}}', b"1234"),
        (f'{{{META},"w":3}}', b""),
        (f'{{{META},"w":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},"w":3}}', b"1234"),
        (f"{{{META},{META}}}", b""),
        ('{"__metadata__":{"sha256":7}}', b""),
        ('{"__metadata__":[]}', b""),
        (f"{{{META.replace('{}', '[]')}}}", b""),
        (f"{{{META.replace('{}', '[' * 100_000)}}}", b""),
        ('{"a":' * 100_000, b""),
    ],
)
def test_malicious_files_are_refused_in_one_line(tmp_path: Path, header: str, data: bytes) -> None:
    (tmp_path / "a").write_bytes(crafted(header, data))
    with pytest.raises(CorruptError) as caught:
        load_tensors(tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_a_huge_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes((2**40).to_bytes(8, "little") + b"{" + b" " * 100)
    with pytest.raises(CorruptError, match="its header would have 1099511627776 bytes"):
        load_tensors(tmp_path / "a")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path, value: float) -> None:
    save_tensors(tmp_path / "a", {"good": torch.zeros(2), "bad": torch.tensor([0.0, value])})
    with pytest.raises(CorruptError, match="'bad' holds NaN or infinite"):
        load_tensors(tmp_path / "a", finite=True)
    assert len(load_tensors(tmp_path / "a")[0]) == 2


def test_the_checksum_is_what_the_documentation_says(tmp_path: Path) -> None:
    data = encode_tensors(tensors(), METADATA)
    size = int.from_bytes(data[:8], "little")
    digest = json.loads(data[8 : 8 + size])["__metadata__"]["sha256"].encode()
    assert hashlib.sha256(data.replace(digest, b"0" * 64)).hexdigest().encode() == digest
