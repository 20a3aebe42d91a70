"""Built-in functions that call kernels: what they refuse, see and free; and Python where they are not."""

from __future__ import annotations

import ctypes
import gc
import sys
import sysconfig
import threading
from array import array
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import torch
from torch import nn

from recurra.cli.doctor import _slow
from recurra.compiler import calls
from recurra.compiler.build import build, compiler
from recurra.compiler.words import Address, Words
from recurra.scan.binding import Guard, Snapshot

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler on this machine")

ADDING = 'extern "C" void add(const long* w) { ((long*)w[1])[0] = ((const long*)w[2])[1] + w[0] + (w[3] ? 1000 : 0); }'
"""The word 0, a number at the address in the word 2 and 8 bytes after it, and 1,000 unless the address 3 is none."""


@pytest.fixture
def tools() -> Any:
    found = calls._library()
    if found is None:
        pytest.skip("Python's headers are not there")
    return found


@pytest.mark.parametrize("work", [1, 10**9])
@pytest.mark.parametrize("way", ["built-in", "Python"])
def test_a_call_finds_its_addresses(way: str, work: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _take(way, monkeypatch)
    add = build(ADDING).library.add
    add.argtypes = [ctypes.c_void_p]
    call = calls.Call(Words([5, Address(0), Address(1, 0), Address(2)]), add, work)
    to, numbers = torch.zeros(1, dtype=torch.int64), torch.tensor([1, 20])
    for _ in range(3):  # the first finds out by what to call
        call([to, numbers, None])
        assert to.item() == 25
        call([to, numbers, numbers])
        assert to.item() == 1025
        call([to, torch.arange(2), None])
        assert to.item() == 6
    assert (call._quick is not None) == (way == "built-in")


def test_what_is_no_call_is_an_error_of_pythons(tools: Any) -> None:
    call = tools.make_caller(array("q", [0]), array("q", [0, 1, 0]), 0, True)
    with pytest.raises(IndexError, match="expected 2 tensors or more, got 1"):
        call([torch.zeros(1)])
    with pytest.raises(TypeError, match="expected 1 arguments, got 2"):
        call([], [])
    with pytest.raises(TypeError, match="expected a list of tensors"):
        call(7)
    with pytest.raises(AttributeError, match="data_ptr"):
        call([1, 2])
    watch = tools.make_guard([(int, ("x",), 0)], [], [], [], [], torch.strided)
    with pytest.raises(ValueError, match="invalid literal"):
        watch()


class _Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 3)
        self.size = 7


@pytest.mark.parametrize("way", ["built-in", "Python"])
def test_a_guard_sees_every_change(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _take(way, monkeypatch)
    changes: list[Any] = [
        lambda m: setattr(m, "size", 8),
        lambda m: setattr(m, "other", 8),
        lambda m: delattr(m, "size"),
        lambda m: m.eval(),
        lambda m: setattr(m.inner, "weight", nn.Parameter(m.inner.weight.detach())),
        lambda m: setattr(m, "inner", nn.Linear(2, 3)),
        lambda m: m.register_buffer("held", torch.zeros(1)),
        lambda m: m.register_parameter("owned", None),
        lambda m: setattr(m.inner, "__class__", _Linear),
    ]
    for change in changes:
        module = _Holder()
        guard = Guard(Snapshot(module.modules()), [])
        assert all(guard() for _ in range(3))
        with torch.no_grad():
            module.inner.weight.add_(1.0)
        assert guard()
        with torch.autocast("cpu"):
            assert not guard()
        change(module)
        assert not guard()


class _Linear(nn.Linear):
    pass


def test_what_a_function_refers_to_is_freed_with_it(tools: Any) -> None:
    module, like = _Holder(), torch.zeros(3)
    count = sys.getrefcount(like)
    snapshot = Snapshot(module.modules())
    forms = [(like, like.dtype, like.shape)]
    made = [tools.make_guard([], snapshot.modules, snapshot.tables, [], forms, torch.strided) for _ in range(5)]
    del forms
    assert all(m() for m in made)
    assert sys.getrefcount(like) > count
    gone = ref(module)
    del module, snapshot, made
    gc.collect()
    assert gone() is None
    assert sys.getrefcount(like) == count


def test_the_library_is_begun_after_some_calls(tools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_state", calls._State())
    assert all(calls.tools() is None for _ in range(calls._FIRST))
    assert not calls._state.begun
    calls.tools()
    assert calls._state.begun
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(10.0)
    assert calls.tools() is tools


def test_without_pythons_headers_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    calls._library.cache_clear()
    assert calls._library() is None
    calls._library.cache_clear()
    assert any("install python3-dev" in line for line in _slow())


def _take(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = calls._library() if way == "built-in" else None
    if way == "built-in" and found is None:
        pytest.skip("Python's headers are not there")
    monkeypatch.setattr(calls._state, "begun", True)
    monkeypatch.setattr(calls._state, "library", found)
