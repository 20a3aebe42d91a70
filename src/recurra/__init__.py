"""recurra: write a recurrent cell once; it then runs, learns, streams, and fits any topology and task."""

from recurra.core import Batch, Cell, Shared, Wrapper, index_rows
from recurra.core.errors import RecurraError
from recurra.layers import GRU, LSTM, RNN, Recurrent
from recurra.scan import scan

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Batch",
    "Cell",
    "Recurrent",
    "RecurraError",
    "Shared",
    "Wrapper",
    "index_rows",
    "scan",
]
