"""Learning: the trainer, the model folder and its files, truncated backpropagation through time, clipping; readouts
in closed form."""

from recurra.learning.averaging import NonMonotonicAverage
from recurra.learning.bptt import BPTT
from recurra.learning.bptt_terms import BPTTTerms, bptt_terms
from recurra.learning.by_rule import RULES, ByRule
from recurra.learning.checkpoint import Checkpoint, Counters, restore_weights
from recurra.learning.clipping import clip_adaptively, clip_by_layer, clip_gradients, clip_state_gradient, gradient_norm
from recurra.learning.curriculum import bucket_batches, growing_window, sampled_inputs
from recurra.learning.diagnosis import Diagnosis, diagnose, input_influence
from recurra.learning.ekf import EKF, Annealed
from recurra.learning.folder import FORMAT_VERSION, ModelFolder
from recurra.learning.memory import memory_report
from recurra.learning.options import DEFAULT_EPOCHS, TrainerOptions
from recurra.learning.progress import JsonProgress, Progress, RichProgress, SilentProgress
from recurra.learning.recursive_least_squares import RecursiveLeastSquares
from recurra.learning.regularisers import (
    activation_penalty,
    gradient_flow_penalty,
    temporal_activation_penalty,
    weight_noise,
    weight_penalty,
)
from recurra.learning.ridge import Ridge
from recurra.learning.rtrl import RTRL
from recurra.learning.rule import Carry, LearningRule, StepLoss, carried_tensors, restored_carry
from recurra.learning.snap import SnAp1
from recurra.learning.stream_bptt import StreamBPTT
from recurra.learning.stream_rule import StreamRule
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
    "RULES",
    "UORO",
    "Annealed",
    "BPTTTerms",
    "ByRule",
    "Carry",
    "Checkpoint",
    "Counters",
    "Diagnosis",
    "JsonProgress",
    "LearningRule",
    "ModelFolder",
    "NonMonotonicAverage",
    "Progress",
    "RecursiveLeastSquares",
    "Result",
    "RichProgress",
    "Ridge",
    "SilentProgress",
    "SnAp1",
    "StepLoss",
    "StreamBPTT",
    "StreamRule",
    "Trainer",
    "TrainerOptions",
    "TruncatedBPTT",
    "activation_penalty",
    "bptt_terms",
    "bucket_batches",
    "carried_tensors",
    "clip_adaptively",
    "clip_by_layer",
    "clip_gradients",
    "clip_state_gradient",
    "diagnose",
    "gradient_flow_penalty",
    "gradient_norm",
    "growing_window",
    "input_influence",
    "load_tensors",
    "make_optimizer",
    "memory_report",
    "restore_weights",
    "restored_carry",
    "sampled_inputs",
    "save_tensors",
    "temporal_activation_penalty",
    "weight_noise",
    "weight_penalty",
]
