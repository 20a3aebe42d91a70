"""Every exception that recurra raises on purpose.

    RecurraError
    ├── ArgumentError          an argument or option is not usable            (also ValueError)
    │   ├── UnknownNameError   a cell, task or file that does not exist       (also KeyError)
    │   └── ShapeError         a tensor has another shape than was declared
    ├── BackendError           a forced backend cannot run this cell
    ├── CellError              a cell breaks the contract of `Cell`
    │   └── LawError           ... found by `recurra.testing.check_cell`      (also AssertionError)
    ├── DataError              a text or data file cannot be used             (also ValueError)
    ├── FolderError            a model folder cannot be read or written
    │   ├── CorruptError       ... its bytes are not those that were written
    │   ├── MismatchError      ... it was made with another configuration, data or version
    │   └── BusyError          ... another process is training in it
    ├── DivergedError          the loss is no longer a finite number
    └── MissingExtraError      an optional package is not installed           (also ImportError)

A message is one line: what was expected, what came, what to do.
"""

__all__ = [
    "ArgumentError",
    "BackendError",
    "BusyError",
    "CellError",
    "CorruptError",
    "DataError",
    "DivergedError",
    "FolderError",
    "LawError",
    "MismatchError",
    "MissingExtraError",
    "RecurraError",
    "ShapeError",
    "UnknownNameError",
]


class RecurraError(Exception):
    """The root of all of recurra's own exceptions: catch this one to catch them all."""


class ArgumentError(RecurraError, ValueError):
    """An argument or option has a value that cannot be used."""


class UnknownNameError(ArgumentError, KeyError):
    """A name (of a cell, a wrapper, a task) that nothing is registered under."""

    # KeyError shows the repr of its argument; a message should read as a sentence.
    __str__ = Exception.__str__


class ShapeError(ArgumentError):
    """A tensor's shape or dtype is not what was declared."""


class BackendError(RecurraError):
    """A backend that was asked for by name cannot run this cell; the message says why."""


class CellError(RecurraError):
    """A cell does not keep the contract of `recurra.Cell`."""


class LawError(CellError, AssertionError):
    """A cell breaks one of the laws that `recurra.testing.check_cell` tests."""


class DataError(RecurraError, ValueError):
    """A text or data file is missing, empty, too short, or not in the encoding it should be in."""


class FolderError(RecurraError):
    """A model folder cannot be read or written."""


class CorruptError(FolderError):
    """A file of a model folder is damaged, foreign, or was tampered with."""


class MismatchError(FolderError):
    """A model folder does not fit the configuration, data or version it is used with."""


class BusyError(FolderError):
    """Another process is training in this model folder."""


class DivergedError(RecurraError):
    """The loss became NaN or infinite; the message gives step, gradient norm, and what to try."""


class MissingExtraError(RecurraError, ImportError):
    """An optional package is needed; the message gives the `pip install` line."""
