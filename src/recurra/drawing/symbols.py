"""Symbols of formulas, made of the names of variables: `h_tilde` is h with a tilde, `alpha` is α, `xr` is x with r."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["GREEK", "Symbol", "symbol_of"]

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "kappa": "κ", "lambda": "λ", "lam": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "rho": "ρ", "sigma": "σ", "tau": "τ",
    "phi": "φ", "psi": "ψ", "omega": "ω",
}  # fmt: skip

_ACCENTS = {"tilde": "tilde", "hat": "hat", "bar": "bar"}
_OLD = {"prev", "previous", "old", "last", "new", "next", "t"}


@dataclass(frozen=True)
class Symbol:
    """A letter or word with what is written around it. time: "t", "t-1", or "" for what does not change; primes: how
    many, where the letter stands for something else already."""

    base: str
    sub: str = ""
    sup: str = ""
    time: str = ""
    accent: str = ""
    primes: int = 0

    @property
    def below(self) -> str:
        """All that is written below: the subscript and the time."""
        return ",".join(part for part in (self.sub, self.time) if part)

    @property
    def upright(self) -> bool:
        """Tell whether the base is a word rather than a letter."""
        return len(self.base) > 1


def symbol_of(name: str, time: str = "") -> Symbol:
    """Return the symbol for a local variable's name, or for a parameter's (with dots)."""
    name = name.removesuffix(".weight").rpartition(".")[2] or name
    words = [w for w in re.split(r"_+", name) if w]
    kept = [w for w in words if w not in _OLD] or words or ["u"]
    accent = next((_ACCENTS[w] for w in kept[1:] if w in _ACCENTS), "")
    base, *rest = [w for k, w in enumerate(kept) if not (k and w in _ACCENTS)]
    digits = re.fullmatch(r"([A-Za-z]+?)(\d+)", base)
    if digits:
        base, rest = digits[1], [digits[2], *rest]
    elif len(base) == 2 and base.isalpha() and base not in GREEK:
        base, rest = base[0], [base[1], *rest]
    if len(base) > 1 and base.lower() not in GREEK:  # a word, with what follows
        return Symbol("_".join([base, *rest]), "", "", time, accent)
    return Symbol(GREEK.get(base.lower(), base), ",".join(GREEK.get(r, r) for r in rest), "", time, accent)
