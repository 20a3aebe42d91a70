"""A cell over time: `scan` checks, makes the context, and hands the problem to a backend; the loop is the truth."""

from recurra.compiler.build import cache_folder, clear_cache
from recurra.compiler.build import compiler as cpp_compiler
from recurra.compiler.calls import python_headers
from recurra.compiler.kernel import forget_weights
from recurra.scan.backends import BACKENDS, Backend, choose
from recurra.scan.binding import Snapshot
from recurra.scan.owners import adopt
from recurra.scan.problem import Problem, Result
from recurra.scan.report import CellReport, report
from recurra.scan.scan import scan
from recurra.scan.sequences import Sequences, prepare_sequences
from recurra.scan.step import step
from recurra.scan.stream import Stream, prepare_stream

__all__ = [
    "BACKENDS",
    "Backend",
    "CellReport",
    "Problem",
    "Result",
    "Sequences",
    "Snapshot",
    "Stream",
    "adopt",
    "cache_folder",
    "choose",
    "clear_cache",
    "cpp_compiler",
    "forget_weights",
    "prepare_sequences",
    "prepare_stream",
    "python_headers",
    "report",
    "scan",
    "step",
]
