"""Why a text was taken for its class: what each of its words contributed."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

import torch

from recurra.core.errors import ArgumentError
from recurra.networks.attribution import integrated_gradients, occlusion
from recurra.tasks.text_classification import TextClassification

__all__ = ["Explanation", "Piece", "explain", "explanations_html"]

_METHODS = ("occlusion", "gradients")


class Piece(NamedTuple):
    """A piece of the text, and what it contributed, in nats; None for white space, which is not read."""

    text: str
    contribution: float | None


@dataclass(frozen=True)
class Explanation:
    """A class, its probability, and the pieces of the text: above zero they speak for the class, below against it."""

    label: str
    probability: float
    method: str
    pieces: tuple[Piece, ...]

    @property
    def strongest(self) -> float:
        """The largest contribution, for or against."""
        return max((abs(p.contribution) for p in self.pieces if p.contribution is not None), default=0.0)

    def to_json(self) -> str:
        """Return one line of JSON."""
        content = {**asdict(self), "pieces": [piece._asdict() for piece in self.pieces]}
        return json.dumps(content, ensure_ascii=False)

    def to_html(self) -> str:
        """Return a paragraph: green speaks for the class, red against it, the paler the less."""
        marked = "".join(_marked(piece, self.strongest) for piece in self.pieces)
        return f"<p><b>{html.escape(self.label)}</b> {self.probability:.3f}<br>\n{marked}</p>"


def explain(
    model: TextClassification,
    text: str,
    *,
    method: Literal["occlusion", "gradients"] = "occlusion",
    label: str | None = None,
    steps: int = 64,
) -> Explanation:
    """Return what each token contributed to log p(label | text), the scores as they are before the temperature.

    method: `occlusion`: how much is lost where the token is left out; `gradients`: integrated gradients of its vector,
    in so many steps. label: whose probability; None: that of the class the text was taken for.
    """
    if method not in _METHODS:
        raise ArgumentError(f"method must be one of {', '.join(_METHODS)}, got {method!r}")
    p: dict[str, float] = model.predict(text).probabilities
    chosen = max(p, key=p.__getitem__) if label is None else label
    if chosen not in p:
        raise ArgumentError(f"label must be one of {', '.join(model.labels[:10])}, got {chosen!r}")
    target, log_p = model.labels.index(chosen), model.answers.log_probabilities
    pieces = model.cut(text)
    tokens = [token for _, token in pieces if token is not None]
    ids = model.units.numbers(tokens)
    if method == "occlusion":
        rest = [model.units.numbers([*tokens[:i], *tokens[i + 1 :]]) for i in range(len(tokens))]
        values = occlusion(model.network, ids, target, log_p=log_p, without=torch.stack(rest) if rest else None)
    else:
        values = integrated_gradients(model.network, ids, target, steps, log_p)
    values_of = iter(values.tolist())
    found = tuple(Piece(p, None if token is None else next(values_of)) for p, token in pieces)
    return Explanation(chosen, p[chosen], method, found)


def explanations_html(explanations: Sequence[Explanation]) -> str:
    """Return a page of its own."""
    body = "\n".join(explanation.to_html() for explanation in explanations)
    return (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>What each word contributed</title></head>\n'
        '<body style="font-family: sans-serif; line-height: 1.8; max-width: 50em; margin: 2em auto">\n'
        f"{body}\n</body></html>\n"
    )


def _marked(piece: Piece, strongest: float) -> str:
    text = html.escape(piece.text)
    if piece.contribution is None or not strongest:
        return text
    colour = "46, 160, 67" if piece.contribution > 0 else "218, 54, 51"
    share = abs(piece.contribution) / strongest
    title = f"{piece.contribution:+.3f}"
    return f'<span style="background: rgba({colour}, {share:.2f})" title="{title}">{text}</span>'
