"""A cell over time: `scan` checks, makes the context, and hands the problem to a backend; the loop is the truth."""

from recurra.scan.backends import BACKENDS, Backend, choose
from recurra.scan.problem import Problem, Result
from recurra.scan.scan import scan
from recurra.scan.step import step

__all__ = ["BACKENDS", "Backend", "Problem", "Result", "choose", "scan", "step"]
