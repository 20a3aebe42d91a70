"""The contract of cells and of everything that runs them. Knows torch and nothing else of recurra."""

from recurra.core.cell import Cell, Context, Shared, call_step
from recurra.core.protocols import Batch, Counted, Head, Network, Steps, Stepwise, StreamingNetwork, Trainable
from recurra.core.state import PerLayer, Shape, State, StateShape, index_rows, split_shape
from recurra.core.tree_cell import TreeCell
from recurra.core.wrapper import Wrapper

__all__ = [
    "Batch",
    "Cell",
    "Context",
    "Counted",
    "Head",
    "Network",
    "PerLayer",
    "Shape",
    "Shared",
    "State",
    "StateShape",
    "Steps",
    "Stepwise",
    "StreamingNetwork",
    "Trainable",
    "TreeCell",
    "Wrapper",
    "call_step",
    "index_rows",
    "split_shape",
]
