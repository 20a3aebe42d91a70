"""From a network's scores to symbols: one step at a time, or whole sequences by beam search."""

from recurra.decoding.beam import BeamOptions, Hypothesis, Step, beam_search
from recurra.decoding.free_running import cut_at, free_run, run_on
from recurra.decoding.repetition import RepetitionPenalty
from recurra.decoding.sampling import Greedy, Sampler
from recurra.decoding.stopping import until

__all__ = [
    "BeamOptions",
    "Greedy",
    "Hypothesis",
    "RepetitionPenalty",
    "Sampler",
    "Step",
    "beam_search",
    "cut_at",
    "free_run",
    "run_on",
    "until",
]
