"""The bottleneck made visible: strings turned around by an encoder-decoder, with attention and without.

Strings of 12 symbols, of 3 to 12 symbols each, drawn anew for every batch; a string counts if all of the answer is
right, its end included. All contestants get the same batches, number of updates, seeds and learning rates, of which the
one that is best for the first seed, on other strings, is taken. Without attention there are two: the same network, and
one of more units, so that it has no fewer weights than the one with attention. Beside the reversal stands copying,
where the first symbol is to be written first, as in translation: there the plain encoder-decoder reads from the front
and from the back.

    python benchmarks/reversal.py --steps 2000 --seeds 3
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from recurra import Batch, Recurrent
from recurra.drawing import Band, Picture, curves_svg, heat_map
from recurra.heads import Softmax
from recurra.networks import (
    Additive,
    CopyBridge,
    Decoder,
    Embedding,
    Encoder,
    EncoderDecoder,
    Readout,
    SoftAttention,
    with_attention,
)

__all__ = ["CONTESTANTS", "Contestant", "exact", "main", "train"]

RESULTS = Path(__file__).with_name("results") / "reversal.md"
SYMBOLS, END, LONGEST, HIDDEN = 12, 12, 12, 64
RATES = (0.002, 0.005, 0.01)


@dataclass(frozen=True)
class Contestant:
    """A network and what it has to do with a string."""

    name: str
    attention: bool = False
    copies: bool = False
    backwards: bool = False
    units: int = HIDDEN

    def build(self) -> EncoderDecoder:
        """Make the network: GRUs, the decoder beginning with the encoder's last state."""
        reader = Recurrent("gru", 32, self.units, batch_first=True)
        cell = with_attention("gru", lambda q: SoftAttention(Additive(q, self.units))) if self.attention else "gru"
        writer = Recurrent(cell, 32, self.units, batch_first=True)
        return EncoderDecoder(
            Encoder(Embedding(SYMBOLS + 1, 32), reader, end=END, backwards=self.backwards),
            Decoder(Embedding(SYMBOLS + 1, 32), writer, Readout(self.units, SYMBOLS + 1), end=END),
            start=CopyBridge(reader, writer),
        )

    @property
    def weights(self) -> int:
        """How many numbers it learns."""
        return sum(p.numel() for p in self.build().parameters())


ATTENDING = Contestant("reversal, with attention", attention=True)
CONTESTANTS = [
    ATTENDING,
    Contestant("reversal, without"),
    next(
        wide
        for wide in (Contestant("reversal, without, as many weights", units=n) for n in range(HIDDEN, 200))
        if wide.weights >= ATTENDING.weights
    ),
    Contestant("copying, without", copies=True),
    Contestant("copying, without, read backwards", copies=True, backwards=True),
]


def train(contestant: Contestant, rate: float, seed: int, steps: int, batch: int) -> EncoderDecoder:
    """Train on strings that the seed draws; the learning rate falls to zero in a straight line."""
    torch.manual_seed(seed)
    network, head = contestant.build(), Softmax()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    draw = torch.Generator().manual_seed(1000 + seed)
    for _ in range(steps):
        strings = _strings(contestant, batch, draw)
        outputs, _ = network(strings)
        expected, mask = network.expected(strings)
        loss = head.loss(outputs, expected, mask) / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        falling.step()
    return network.eval()


@torch.no_grad()
def exact(network: EncoderDecoder, contestant: Contestant, length: int, seed: int, count: int = 500) -> float:
    """Return the share of strings of one length that come out right as a whole.

    All choices given the true symbols before are right just where greedy writing gives the true string.
    """
    strings = _strings(contestant, count, torch.Generator().manual_seed(seed), length)
    expected, mask = network.expected(strings)
    right = (network(strings)[0].argmax(-1) == expected) | ~mask
    return float(right.all(1).double().mean())


def _strings(contestant: Contestant, rows: int, draw: torch.Generator, length: int | None = None) -> Batch:
    lengths = torch.randint(3, LONGEST + 1, (rows,), generator=draw)
    if length is not None:
        lengths = torch.full((rows,), length)
    x = torch.randint(SYMBOLS, (rows, LONGEST), generator=draw)
    back = (lengths[:, None] - 1 - torch.arange(LONGEST)) % LONGEST
    y = x if contestant.copies else x.gather(1, back)
    return Batch(x, y, lengths, target_lengths=lengths)


def main(arguments: list[str] | None = None) -> None:
    """Train every contestant; write the table and the two pictures after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="of training, for each contestant, seed and rate")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--strings", type=int, default=500, help="of each length that are judged")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    started = time.perf_counter()
    rows: list[str] = []
    curves: dict[str, Band] = {}
    for contestant in CONTESTANTS:
        rate, networks = _tuned(contestant, chosen)
        lengths = range(3, LONGEST + 1)
        table = [[exact(n, contestant, length, 1, chosen.strings) for length in lengths] for n in networks]
        rows.append(
            f"| {contestant.name} | {contestant.units} | {contestant.weights:,} | {rate} | "
            f"{' | '.join(map(_shown, zip(*table, strict=True)))} |"
        )
        curves[contestant.name] = _band(table)
        print(rows[-1], flush=True)
        if contestant.attention:
            _attention(networks[0], contestant).save(chosen.out.with_name(f"{chosen.out.stem}_attention.svg"))
        picture = curves_svg(
            curves, title="Strings written without any error", x_label="symbols in the string", y_label="%", width=980
        )
        chosen.out.with_name(f"{chosen.out.stem}_accuracy.svg").write_text(picture, encoding="utf-8")
        chosen.out.write_text(_report(rows, curves, chosen, time.perf_counter() - started), encoding="utf-8")


def _tuned(contestant: Contestant, chosen: argparse.Namespace) -> tuple[float, list[EncoderDecoder]]:
    """Return the learning rate that is best for the first seed (on other strings), and the networks."""

    def run(rate: float, seed: int) -> EncoderDecoder:
        return train(contestant, rate, seed, chosen.steps, chosen.batch_size)

    def goodness(network: EncoderDecoder) -> float:
        return statistics.mean(exact(network, contestant, length, 2, chosen.strings) for length in (4, 8, 12))

    first = {rate: run(rate, 0) for rate in RATES}
    rate = max(RATES, key=lambda rate: goodness(first[rate]))
    return rate, [first[rate], *(run(rate, seed) for seed in range(1, chosen.seeds))]


def _shown(shares: Sequence[float]) -> str:
    """Return the median, and below it every seed's share in percent."""
    return f"**{100 * statistics.median(shares):.1f}** ({', '.join(f'{100 * s:.1f}' for s in shares)})"


def _band(table: Sequence[Sequence[float]]) -> Band:
    columns = [(n, sorted(100 * s for s in column)) for n, column in enumerate(zip(*table, strict=True), 3)]
    return Band(
        [(n, statistics.median(c)) for n, c in columns],
        [(n, c[0]) for n, c in columns],
        [(n, c[-1]) for n, c in columns],
    )


def _attention(network: EncoderDecoder, contestant: Contestant) -> Picture:
    """Return the picture of the attention for one string of the greatest length."""
    string = _strings(contestant, 1, torch.Generator().manual_seed(3), LONGEST)
    with torch.no_grad():
        weights = network.attention(string)[0]
    assert string.targets is not None
    return heat_map(
        weights.tolist(), [*_letters(string.targets[0]), "end"], [*_letters(string.inputs[0]), "end"],
        title="Where the decoder looks for each symbol it writes", row_label="written", column_label="read",
    )  # fmt: skip


def _letters(ids: Tensor) -> list[str]:
    return ["abcdefghijkl"[i] for i in ids.tolist()]


def _report(rows: Sequence[str], curves: dict[str, Band], chosen: argparse.Namespace, seconds: float) -> str:
    lengths = range(3, LONGEST + 1)
    return "\n".join(
        [
            "# Turning strings around",
            "",
            f"Strings of {SYMBOLS} symbols, 3 to {LONGEST} of them; GRUs, embeddings of 32, additive attention; "
            f"{chosen.steps:,} updates of Adam in batches of {chosen.batch_size}, the learning rate falling to zero, "
            f"gradients clipped to the norm 1, the best of the rates {', '.join(map(str, RATES))} for the first seed "
            f"(on other strings); {chosen.seeds} seeds. "
            f"Made by `benchmarks/reversal.py --steps {chosen.steps} --seeds {chosen.seeds}` "
            f"on {datetime.now(UTC):%Y-%m-%d} in {seconds:,.0f} s on one core of a shared machine.",
            "",
            f"Percent of {chosen.strings} strings of each length written without error: the median, and every seed.",
            "",
            f"| | units | weights | rate | {' | '.join(map(str, lengths))} |",
            f"|---|---:|---:|---:|{'---|' * len(lengths)}",
            *rows,
            "",
            *_verdicts({name: dict(band.middle) for name, band in curves.items()}),
            "",
            f"![Accuracy against length]({chosen.out.stem}_accuracy.svg)",
            "",
            f"![Attention for one string]({chosen.out.stem}_attention.svg)",
            "",
            "Without attention one vector must hold the whole string. In the picture of the attention the "
            "anti-diagonal leads from the end of the string to its beginning; where it lies one place late, the state "
            "after the next symbol still holds the one before. Reading backwards is meant for what is to be written "
            "in the order in which it was read (Sutskever, Vinyals and Le 2014): in the reversal reading forwards "
            "does just that.",
            "",
        ]
    )


def _verdicts(medians: dict[str, dict[float, float]]) -> list[str]:
    """Return what the medians say so far: the aim, the bottleneck, and what reading backwards is worth."""
    lines: list[str] = []
    attending, plain, wide, front, back = (medians.get(c.name) for c in CONTESTANTS)
    if attending is not None:
        least = min(attending[n] for n in (4, 8, 12))
        lines.append(
            f"- At least 98 % at 4, 8 and 12 symbols with attention: {'reached' if least >= 98 else 'not reached'}, "
            f"the least is {least:.1f} %."
        )
    if attending is not None and plain is not None and wide is not None:
        lines.append(
            f"- The bottleneck, at 12 symbols: {attending[12]:.1f} % with attention, {plain[12]:.1f} % without, "
            f"{wide[12]:.1f} % without but with no fewer weights."
        )
    if front is not None and back is not None:
        gains = [back[n] - front[n] for n in front]
        lines.append(
            f"- Reading the source backwards helps the plain network that copies at {sum(g > 0 for g in gains)} of "
            f"{len(gains)} lengths: {front[8]:.1f} % to {back[8]:.1f} % at 8 symbols, {front[12]:.1f} % to "
            f"{back[12]:.1f} % at 12. Its least gain is {min(gains):.1f} points, its greatest {max(gains):.1f}."
        )
    return lines


if __name__ == "__main__":
    main()
