"""`recurra doctor`: what this machine has, and what will be slow and why."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import torch
import typer
from rich.table import Table

from recurra import __version__
from recurra.cli.report import console
from recurra.scan import cache_folder, clear_cache, cpp_compiler, python_headers

__all__ = ["doctor", "register"]

_PACKAGES = ("torch", "numpy", "safetensors", "typer", "rich")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(doctor)


def doctor(
    clear: Annotated[bool, typer.Option("--clear-cache", help="Delete the compiled kernels kept on disk.")] = False,
) -> None:
    """Tell versions, threads, compiler, GPU and caches, and what is slow and why."""
    if clear:
        console.print(f"deleted {clear_cache()} compiled kernels from {cache_folder()}", soft_wrap=True)
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("recurra", __version__)
    table.add_row("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in _PACKAGES:
        table.add_row(package, _version(package))
    table.add_row("processor", f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}")
    table.add_row(
        "threads", f"{torch.get_num_threads()} (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')})"
    )
    table.add_row("GPU", _gpu())
    table.add_row("compiler", cpp_compiler() or "none found")
    table.add_row("caches", f"{sum(1 for _ in cache_folder().glob('*.so'))} compiled kernels in {cache_folder()}")
    console.print(table)
    for line in _slow():
        console.print(f"- {line}", soft_wrap=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none that torch can use"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _slow() -> list[str]:
    """Say what will be slow here, and what to do about it."""
    found: list[str] = []
    if cpp_compiler() is None:
        found.append(
            "there is no C++ compiler, so cells run by the plain loop: each step costs a few calls of torch; install g++"  # noqa: E501
        )
    elif python_headers() is None:
        found.append(
            "Python's headers are missing, so every call of a kernel takes some microseconds more: install python3-dev"
        )
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    if threads > cores:
        found.append(f"{threads} threads on {cores} cores get in each other's way: set OMP_NUM_THREADS={cores}")
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX"):
        found.append("this processor lacks AVX2: matrix products run at a fraction of the usual speed")
    if torch.cuda.is_available():
        found.append(
            "there is a GPU, but the command line trains on the CPU; in Python, move the network with .to('cuda')"
        )
    if sys.flags.dev_mode:
        found.append("Python runs in development mode (-X dev), which is slower")
    return found
