"""From a network's scores to symbols, one step at a time."""

from recurra.decoding.free_running import free_run
from recurra.decoding.sampling import Greedy, Sampler
from recurra.decoding.stopping import until

__all__ = ["Greedy", "Sampler", "free_run", "until"]
