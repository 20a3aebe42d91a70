"""What all tasks share: what a task is, which cell it uses, and a training run into a model folder."""

from recurra.tasks.contract.cell_choice import CellChoice, choose_cell, recall_cell
from recurra.tasks.contract.comparison import Contestant, compare, comparison_markdown, comparison_svg
from recurra.tasks.contract.finishing import Finishing
from recurra.tasks.contract.learning_choice import LearningOptions, WholeSequences, starting_anew
from recurra.tasks.contract.observing import LOOKED_THROUGH, NOT_THERE, Observable, full_rows
from recurra.tasks.contract.options import check_fields, check_values, option, read_options
from recurra.tasks.contract.rendering import Rendering
from recurra.tasks.contract.restoring import check_size
from recurra.tasks.contract.task import Task
from recurra.tasks.contract.training import TrainingRun, train

__all__ = [
    "LOOKED_THROUGH",
    "NOT_THERE",
    "CellChoice",
    "Contestant",
    "Finishing",
    "LearningOptions",
    "Observable",
    "Rendering",
    "Task",
    "TrainingRun",
    "WholeSequences",
    "check_fields",
    "check_size",
    "check_values",
    "choose_cell",
    "compare",
    "comparison_markdown",
    "comparison_svg",
    "full_rows",
    "option",
    "read_options",
    "recall_cell",
    "starting_anew",
    "train",
]
