"""What stands on a network's outputs: a loss to learn by, and a way to predict."""

from recurra.heads.crf import CRF, UNLABELLED
from recurra.heads.softmax import Softmax
from recurra.heads.temperature import fit_temperature

__all__ = ["CRF", "UNLABELLED", "Softmax", "fit_temperature"]
