"""What stands on a network's outputs: a loss to learn by, and a way to predict."""

from recurra.heads.crf import CRF, UNLABELLED
from recurra.heads.softmax import Softmax

__all__ = ["CRF", "UNLABELLED", "Softmax"]
