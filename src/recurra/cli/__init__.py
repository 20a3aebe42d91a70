"""The command line: one verb per file, discovered. Errors are one line on standard error and a non-zero exit code."""

from recurra.cli.main import main

__all__ = ["main"]
