"""Learning: the trainer, the model folder and its files, truncated backpropagation through time, clipping; readouts
in closed form."""

from recurra.learning.bptt import BPTT
from recurra.learning.bptt_terms import BPTTTerms, bptt_terms
from recurra.learning.checkpoint import Checkpoint, Counters, restore_weights
from recurra.learning.clipping import clip_gradients, gradient_norm
from recurra.learning.diagnosis import Diagnosis, diagnose, input_influence
from recurra.learning.ekf import EKF, Annealed
from recurra.learning.folder import FORMAT_VERSION, ModelFolder
from recurra.learning.options import DEFAULT_EPOCHS, TrainerOptions
from recurra.learning.progress import JsonProgress, Progress, RichProgress, SilentProgress
from recurra.learning.recursive_least_squares import RecursiveLeastSquares
from recurra.learning.ridge import Ridge
from recurra.learning.rtrl import RTRL
from recurra.learning.rule import Carry, LearningRule, StepLoss, carried_tensors, restored_carry
from recurra.learning.snap import SnAp1
from recurra.learning.stream_bptt import StreamBPTT
from recurra.learning.trainer import Result, Trainer, make_optimizer
from recurra.learning.truncated_bptt import TruncatedBPTT
from recurra.learning.uoro import UORO
from recurra.learning.weights import load_tensors, save_tensors

__all__ = [
    "BPTT",
    "DEFAULT_EPOCHS",
    "EKF",
    "FORMAT_VERSION",
    "RTRL",
    "UORO",
    "Annealed",
    "BPTTTerms",
    "Carry",
    "Checkpoint",
    "Counters",
    "Diagnosis",
    "JsonProgress",
    "LearningRule",
    "ModelFolder",
    "Progress",
    "RecursiveLeastSquares",
    "Result",
    "RichProgress",
    "Ridge",
    "SilentProgress",
    "SnAp1",
    "StepLoss",
    "StreamBPTT",
    "Trainer",
    "TrainerOptions",
    "TruncatedBPTT",
    "bptt_terms",
    "carried_tensors",
    "clip_gradients",
    "diagnose",
    "gradient_norm",
    "input_influence",
    "load_tensors",
    "make_optimizer",
    "restore_weights",
    "restored_carry",
    "save_tensors",
]
