"""The letters that texts give to weights: one notation for a whole picture, never mixed."""

from __future__ import annotations

from dataclasses import dataclass

from recurra.core.errors import UnknownNameError
from recurra.core.registry import lookup
from recurra.drawing.symbols import Symbol

__all__ = ["NOTATIONS", "Notation", "notation_called"]


@dataclass(frozen=True)
class Notation:
    """The letters of weights by what they do. `ends`: letters are written with both ends, W_hx from x to h;
    `joined`: input and state are joined, [x, h], under one matrix, and gates are powers of z."""

    inputs: str = "W"
    recurrent: str = "U"
    output: str = "V"
    bias: str = "b"
    output_bias: str = "c"
    ends: bool = False
    joined: bool = False

    def weight(self, role: str, owner: Symbol | None, source: str, index: str = "") -> Symbol:
        """Return the symbol of a matrix that plays a role ("inputs", "recurrent" or "output") in owner's equation;
        owner is None where the role is played in one equation alone. source: the base of what it is multiplied with;
        index: its number where several play the role in one equation."""
        if self.joined:
            return self._power("W", role, owner)
        letter = {"inputs": self.inputs, "recurrent": self.recurrent, "output": self.output}[role]
        if self.ends:
            return Symbol(letter, f"{owner.base if owner else ''}{source}{index}")
        return Symbol(letter, ",".join(part for part in (_gate(owner) if owner else "", index) if part))

    def bias_of(self, role: str, owner: Symbol | None) -> Symbol:
        """Return the symbol of a bias."""
        if self.joined:
            return self._power("b", role, owner)
        letter = self.output_bias if role == "output" else self.bias
        return Symbol(letter, _gate(owner) if owner else "")

    def _power(self, letter: str, role: str, owner: Symbol | None) -> Symbol:
        if role == "output" or owner is None:
            return Symbol(letter, primes=role == "output")
        return Symbol(letter, sup=owner.sup if owner.base == "z" else _gate(owner))


NOTATIONS = {
    "paper": Notation(),
    "uvw": Notation(inputs="U", recurrent="W"),
    "nndl": Notation(),
    "w_hx": Notation(inputs="W", recurrent="W", output="W", output_bias="b", ends=True),
    "z": Notation(joined=True),
}
"""paper: W input, U recurrent, V output, b (the usual letters of papers on gated cells). uvw: U input, W recurrent,
V output, b, c. nndl: U recurrent, W input. w_hx: W_hx from x to h, W_hh, W_yh, b_h, b_y. z: the LSTM's z, zⁱ, zᶠ, zᵒ of
the joined [x, h]."""


def notation_called(name: str) -> Notation:
    """Return a notation by its name. Raises UnknownNameError, with the known ones."""
    if not isinstance(name, str):
        raise UnknownNameError(f"expected notation to be one of {', '.join(NOTATIONS)}, got {name!r}")
    return lookup(NOTATIONS, name, "notation")


def _gate(owner: Symbol) -> str:
    return ",".join(part for part in (owner.base, owner.sub) if part)
