"""Formulas as trees, and how they are written: as LaTeX, and as runs of letters for pictures and plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from recurra.drawing.symbols import GREEK, Symbol

__all__ = [
    "Call",
    "Equation",
    "Expression",
    "Infix",
    "Join",
    "Number",
    "Piecewise",
    "Run",
    "Sum",
    "Term",
    "Transposed",
    "function_sign",
    "plain",
    "runs",
    "to_latex",
]


@dataclass(frozen=True)
class Number:
    """A plain number."""

    value: float | int | bool


@dataclass(frozen=True)
class Call:
    """A function of arguments; `below` is written under its name (a norm's dimension, a part's bounds)."""

    name: str
    arguments: tuple[Expression, ...]
    below: str = ""


@dataclass(frozen=True)
class Sum:
    """Terms with their signs."""

    terms: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True)
class Infix:
    """Something between two or more: "⊙", "⊗", "" for a matrix before a vector, "/", "^", "=", "mod", ..."""

    operator: str
    sides: tuple[Expression, ...]


@dataclass(frozen=True)
class Piecewise:
    """`then` where the condition holds, `otherwise` where it does not."""

    condition: Expression
    then: Expression
    otherwise: Expression


@dataclass(frozen=True)
class Join:
    """Vectors joined into one."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Transposed:
    """A matrix with rows and columns exchanged."""

    inside: Expression


Term: TypeAlias = "Symbol | Number"
Expression: TypeAlias = "Symbol | Number | Call | Sum | Infix | Piecewise | Join | Transposed"


@dataclass(frozen=True)
class Equation:
    """`left = right`."""

    left: Symbol
    right: Expression


@dataclass(frozen=True)
class Run:
    """Some letters in one style. level: 0 on the line, -1 below it, 1 above it."""

    text: str
    italic: bool = False
    level: int = 0


_FUNCTIONS = {
    "sigmoid": ("σ", r"\sigma"), "tanh": ("tanh", r"\tanh"), "exp": ("exp", r"\exp"), "log": ("log", r"\log"),
    "sin": ("sin", r"\sin"), "cos": ("cos", r"\cos"), "sum": ("Σ", r"\sum"), "amax": ("max", r"\max"),
    "maximum": ("max", r"\max"), "minimum": ("min", r"\min"), "amin": ("min", r"\min"), "not": ("¬", r"\neg"),
    "log_sigmoid": ("log σ", r"\log\sigma"), "clamp_min": ("max", r"\max"), "clamp_max": ("min", r"\min"),
    "relu": ("ReLU", r"\mathrm{ReLU}"), "layer_norm": ("LN", r"\mathrm{LN}"), "rms_norm": ("RMS", r"\mathrm{RMS}"),
}  # fmt: skip
_OPERATORS = {
    "⊙": r"\odot", "⊗": r"\otimes", "=": "=", "≠": r"\neq", "<": "<", "≤": r"\le", ">": ">", "≥": r"\ge",
    "mod": r"\bmod", "∧": r"\wedge", "∨": r"\vee", "∗": "*", "xor": r"\oplus", "": "",
}  # fmt: skip
_STRENGTH = {"=": 0, "≠": 0, "<": 0, "≤": 0, ">": 0, "≥": 0, "∧": -1, "∨": -1, "xor": -1, "^": 4, "∗": 3}
_BARS = {"abs": ("|", ("|", "|")), "norm": ("‖", (r"\lVert", r"\rVert"))}
_ACCENTS = {"tilde": ("\u0303", r"\tilde"), "hat": ("\u0302", r"\hat"), "bar": ("\u0304", r"\bar")}
_LATEX_GREEK = {letter: "\\" + name for name, letter in GREEK.items() if name != "lam"}


def function_sign(name: str) -> str:
    """Return how a function is written in pictures."""
    return _FUNCTIONS.get(name, (name.replace("_", " "), ""))[0]


def to_latex(e: Expression | Equation) -> str:
    """Return a formula as LaTeX, without dollar signs."""
    match e:
        case Equation(left, right):
            return f"{to_latex(left)} = {to_latex(right)}"
        case Symbol():
            return _latex_symbol(e)
        case Number(value):
            return _number(value).replace("−", "-").replace("∞", r"\infty")
        case Call(name, arguments, below):
            made = _FUNCTIONS.get(name, ("", rf"\mathrm{{{name.replace('_', '-')}}}"))[1]
            made += f"_{{{below}}}" if below else ""
            if name in _BARS:
                left, right = _BARS[name][1]
                return rf"\left{left} {to_latex(arguments[0])} \right{right}"
            inside = ", ".join(map(to_latex, arguments))
            if name == "part":
                return f"{_closed(arguments[0], 5)}[{below}]"
            return rf"{made}\left({inside}\right)" if "\\begin" in inside or "\\frac" in inside else f"{made}({inside})"
        case Sum(terms):
            written = [f"{sign} {_closed(t, 1, sign == '-')}" for sign, t in terms]
            return " ".join(written).removeprefix("+ ").replace("- ", "-", 1 if terms[0][0] == "-" else 0)
        case Infix("/", (over, under)):
            return rf"\frac{{{to_latex(over)}}}{{{to_latex(under)}}}"
        case Infix("^", (base, power)):
            return f"{_raisable(base, 4)}^{{{to_latex(power)}}}"
        case Infix(operator, sides):
            strength = _STRENGTH.get(operator, 2 if operator else 3)
            between = f" {_OPERATORS.get(operator, operator)} ".replace("  ", " ")
            return between.join(_closed(s, strength, k > 0) for k, s in enumerate(sides))
        case Piecewise(condition, then, otherwise):
            return (
                rf"\begin{{cases}} {to_latex(then)} & \text{{if }} {to_latex(condition)} \\ "
                rf"{to_latex(otherwise)} & \text{{otherwise}} \end{{cases}}"
            )
        case Join(parts):
            return rf"[{'; '.join(map(to_latex, parts))}]"
        case Transposed(inside):
            return f"{_raisable(inside, 5)}^\\top"


def runs(e: Expression | Equation) -> list[Run]:
    """Return a formula as letters in a row."""
    match e:
        case Equation(left, right):
            return [*runs(left), Run(" = "), *runs(right)]
        case Symbol():
            accent = (_ACCENTS[e.accent][0] if e.accent else "") + "′" * e.primes
            above = [Run(e.sup, len(e.sup) == 1, 1)] if e.sup else []
            below = [Run(e.below.replace("-", "−"), _slanted(e.below), -1)] if e.below else []
            return [Run(e.base + accent, not e.upright), *above, *below]
        case Number(value):
            return [Run(_number(value))]
        case Call(("abs" | "norm") as name, (inside,)):
            return [Run(_BARS[name][0]), *runs(inside), Run(_BARS[name][0])]
        case Call("part", (inside,), below):
            return [*_opened(inside, 5), Run(f"[{below}]")]
        case Call(name, arguments, below):
            sign = Run(function_sign(name))
            return [sign, *([Run(below, False, -1)] if below else []), Run("("), *_listed(arguments, ", "), Run(")")]
        case Sum(terms):
            made: list[Run] = []
            for k, (sign, term) in enumerate(terms):
                shown = sign.replace("-", "−")
                made += [Run(f" {shown} " if k else "" if sign == "+" else shown), *_opened(term, 1, sign == "-")]
            return made
        case Infix("^", (base, power)):
            return [*_opened(base, 4), *(Run(r.text, r.italic, 1) for r in runs(power))]
        case Infix(operator, sides):
            strength = _STRENGTH.get(operator, 2 if operator else 3)
            made = []
            for k, side in enumerate(sides):
                between = "\u2009" if not operator else f" {operator} "
                made += [*([Run(between)] if k else []), *_opened(side, strength, k > 0)]
            return made
        case Piecewise(condition, then, otherwise):
            return [
                *_opened(then, 1), Run(" if "), *runs(condition), Run(" else "), *_opened(otherwise, 1),
            ]  # fmt: skip
        case Join(parts):
            return [Run("["), *_listed(parts, "; "), Run("]")]
        case Transposed(inside):
            return [*_opened(inside, 5), Run("⊤", False, 1)]


def plain(e: Expression | Equation) -> str:
    """Return a formula as plain text: `i_t = σ(W_i x_t + U_i h_{t-1} + b_i)`."""
    made = ""
    for r in runs(e):
        text = r.text.replace("\u2009", " ").replace("−", "-").replace("′", "'")
        if r.level:
            text = ("_" if r.level < 0 else "^") + (text if len(text) == 1 else f"{{{text}}}")
        made += text
    return made


def _latex_symbol(s: Symbol) -> str:
    base = _LATEX_GREEK.get(s.base) or (s.base if not s.upright else rf"\mathrm{{{s.base}}}".replace("_", r"\_"))
    if s.accent:
        base = f"{_ACCENTS[s.accent][1]}{{{base}}}"
    base += "'" * s.primes
    return base + (f"^{{{_words(s.sup)}}}" if s.sup else "") + (f"_{{{_words(s.below)}}}" if s.below else "")


def _words(text: str) -> str:
    """Set the words (not the letters) of a subscript upright."""
    parts = [_LATEX_GREEK.get(p, p) for p in text.split(",")]
    return ",".join(p if len(p) < 3 or p.startswith(("\\", "t-")) else rf"\mathrm{{{p}}}" for p in parts)


def _slanted(text: str) -> bool:
    return all(len(p) < 3 or p == "t-1" for p in text.split(","))


def _number(value: float | int | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}".replace("-", "−").replace("inf", "∞")


def _strength(e: Expression) -> int:
    """Return how tightly an expression holds together: what holds less than its surroundings needs brackets."""
    match e:
        case Sum():
            return 1
        case Piecewise():
            return -1
        case Infix(operator, _):
            return _STRENGTH.get(operator, 2 if operator else 3)
        case Number(value) if not isinstance(value, bool) and value < 0:
            return 1
        case _:
            return 9


def _needs_brackets(e: Expression, strength: int, right: bool) -> bool:
    own = _strength(e)
    if isinstance(e, Infix) and e.operator == "⊙" and strength == 2:
        return False
    return own < strength or (own == strength and (right or strength in (0, -1, 4)) and own < 9)


def _closed(e: Expression, strength: int, later: bool = False) -> str:
    made = to_latex(e)
    return f"({made})" if _needs_brackets(e, strength, later) else made


def _raisable(e: Expression, strength: int) -> str:
    """Return LaTeX that an exponent can stand on: what has one already needs braces."""
    made = _closed(e, strength)
    return f"{{{made}}}" if isinstance(e, Symbol) and (e.sup or e.primes) else made


def _opened(e: Expression, strength: int, later: bool = False) -> list[Run]:
    made = runs(e)
    return [Run("("), *made, Run(")")] if _needs_brackets(e, strength, later) else made


def _listed(parts: Sequence[Expression], between: str) -> list[Run]:
    made: list[Run] = []
    for k, part in enumerate(parts):
        made += [*([Run(between)] if k else []), *runs(part)]
    return made
