"""Tagging beside plain torch: the same BiLSTM-CRF by nn.LSTM and pytorch-crf, trained in turns on the same batches.

    python benchmarks/tagging_speed.py CORPORA [--steps 40] [--sentences 320] [--out FILE]

Needs `pip install pytorch-crf` and the folder that `benchmarks/data/corpora.py` wrote. Both models begin with the very
same weights, without dropout, so that their losses must agree to rounding; they take turns step by step. Then both tag
the same sentences, in batches and one by one, and their tags are compared.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torchcrf
from torch import Tensor, nn

from recurra.core import Batch
from recurra.data import read_tagged
from recurra.data.ragged_batches import padded
from recurra.learning import TrainerOptions, clip_gradients, make_optimizer
from recurra.tasks.tagging import Tagging, TaggingOptions

__all__ = ["PlainTagger", "main"]

RESULT = Path(__file__).parent / "results" / "tagging_speed.md"
TRAINING = TrainerOptions()
_WARM = 3
"""Turns before the clock counts: kernels are built in them."""


class PlainTagger(nn.Module):
    """The tagger as one writes it in plain torch: embeddings side by side, a packed nn.LSTM, a linear layer, a CRF."""

    def __init__(self, symbols: Sequence[int], sizes: Sequence[int], hidden_size: int, tags: int) -> None:
        super().__init__()
        self.columns = nn.ModuleList(nn.Embedding(n, size) for n, size in zip(symbols, sizes, strict=True))
        self.recurrent = nn.LSTM(sum(sizes), hidden_size, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(2 * hidden_size, tags)
        self.crf: Any = torchcrf.CRF(tags, batch_first=True)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return the scores `(B, T, tags)`."""
        x = torch.cat([column(i) for column, i in zip(self.columns, ids.unbind(-1), strict=True)], -1)
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, _ = nn.utils.rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        return self.linear(y)

    def take_weights(self, ours: nn.Module) -> None:
        """Copy the weights of recurra's tagger: other names, the same shapes; its directions have nn.LSTM's layout."""
        pairs = [
            *zip(self.columns.parameters(), ours.get_submodule("scores.embed").parameters(), strict=True),
            *zip(self.recurrent.parameters(), ours.get_submodule("scores.recurrent").parameters(), strict=True),
            *zip(self.linear.parameters(), ours.get_submodule("scores.readout").parameters(), strict=True),
        ]
        for mine, theirs in pairs:
            mine.data.copy_(theirs.data)
        for own, name in (("start_transitions", "start"), ("transitions", "between"), ("end_transitions", "end")):
            legal = ours.get_buffer(f"head.legal_{name}")
            # What the scheme forbids: pytorch-crf has no constraints but a score so low that it stays out.
            self.crf.get_parameter(own).data.copy_(ours.get_parameter(f"head.{name}").masked_fill(~legal, -1e4))


def main(arguments: list[str] | None = None) -> None:
    """Compare, print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpora", type=Path, help="the folder that benchmarks/data/corpora.py wrote")
    parser.add_argument("--steps", type=int, default=40, help="training steps of each")
    parser.add_argument("--sentences", type=int, default=320, help="sentences to tag")
    parser.add_argument("--lines", type=int, default=40_000, help="lines of each corpus to read")
    parser.add_argument("--out", type=Path, default=RESULT, help="the file to write")
    chosen = parser.parse_args(arguments)
    lines = [
        "# Tagging beside plain torch and pytorch-crf",
        "",
        "A bidirectional LSTM of 128 units a direction under a CRF, batches of 32 sentences, the options of "
        "`recurra train tagging`, without dropout. The other model is the same in plain torch: embeddings, a packed "
        "`nn.LSTM`, `nn.Linear`, pytorch-crf; torch's fused Adam learns both. Both begin with the same weights and "
        "take turns, over the same batches; padding and numbering are in the times of both. The ratio is the median "
        "of theirs over ours, above 1 where recurra is faster.",
        "",
        "| corpus | what | recurra, ms | torch, ms | ratio |",
        "|---|---|---:|---:|---:|",
    ]
    notes: list[str] = []
    for name, format in (("segmentation.txt", "segmented"), ("entities.conll", "columns"), ("brown.conll", "columns")):
        with TemporaryDirectory() as folder, (chosen.corpora / name).open(encoding="utf-8") as corpus:
            part = Path(folder) / name
            part.write_text("".join(islice(corpus, chosen.lines)), encoding="utf-8")
            rows, note = _compare(part, format, chosen.steps, chosen.sentences)
        print(*rows, note, sep="\n", flush=True)
        lines += [f"| {name} | {row} |" for row in rows]
        notes.append(f"- {name}: {note}")
    lines += [
        "",
        *notes,
        "",
        f"{chosen.steps} training steps and {chosen.sentences} sentences of the first {chosen.lines:,} lines of each "
        "corpus. Made by `benchmarks/tagging_speed.py`. "
        f"Machine: {platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} "
        f"thread(s); torch {torch.__version__}, pytorch-crf "
        f"{version('pytorch-crf')}.",
    ]
    text = "\n".join(lines) + "\n"
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(text, encoding="utf-8")
    print(text)


def _compare(path: Path, format: Any, steps: int, count: int) -> tuple[list[str], str]:
    """Return the table's rows for one corpus, and how far the two models agree."""
    options = TaggingOptions(format=format, dropout=0.0, test=0.05)
    ours = Tagging.prepare(options, [path])
    training = ours.trainable()
    features = ours.names.features.sizes
    sizes = [options.embedding_size, *[options.embedding_size // len(features)] * len(features)]
    theirs = PlainTagger([ours.names.tokens.size, *features], sizes, options.hidden_size, len(ours.names.tags))
    theirs.take_weights(ours.network)
    own, other = make_optimizer(ours.network, TRAINING), make_optimizer(theirs, TRAINING)
    losses: tuple[list[float], list[float]] = ([], [])

    def learn_ours(batch: Batch) -> None:
        own.zero_grad(set_to_none=True)
        loss, _ = training.loss(batch)
        loss.backward()
        clip_gradients(ours.network.parameters(), norm=TRAINING.clip_norm)
        own.step()
        losses[0].append(loss.item())

    def learn_theirs(batch: Batch) -> None:
        assert batch.lengths is not None
        other.zero_grad(set_to_none=True)
        mask = torch.arange(batch.inputs.shape[1]) < batch.lengths[:, None]
        loss = -theirs.crf(theirs(batch.inputs, batch.lengths), batch.targets, mask) / batch.lengths.sum()
        loss.backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), TRAINING.clip_norm)
        other.step()
        losses[1].append(loss.item())

    batches = islice(training.batches(0), steps + _WARM)
    times = _in_turns([(partial(learn_ours, b), partial(learn_theirs, b)) for b in batches])
    gap = max(abs(a - b) / abs(b) for a, b in zip(*losses, strict=True))
    rows = [_row("training, a batch of 32", times)]
    ours.network.eval()
    theirs.eval()
    theirs.take_weights(ours.network)
    rows_of_tokens = [s.tokens for s in read_tagged([path], format)[-count:]]
    found: tuple[list[Sequence[int]], list[Sequence[int]]] = ([], [])
    at = {tag: i for i, tag in enumerate(ours.names.tags)}

    def tag_ours(sentences: Sequence[Sequence[str]]) -> None:
        found[0].extend([at[tag] for tag in tags] for tags in ours.best_tags(sentences))

    @torch.no_grad()
    def tag_theirs(sentences: Sequence[Sequence[str]]) -> None:
        ids, lengths = padded([ours.names.encode(s) for s in sentences])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        found[1].extend(theirs.crf.decode(theirs(ids, lengths), mask))

    for label, size, most in (("prediction, a batch of 32", 32, count), ("prediction, one sentence", 1, count // 4)):
        cut = [rows_of_tokens[i : i + size] for i in range(0, most, size)]
        times = _in_turns([(partial(tag_ours, c), partial(tag_theirs, c)) for c in [*cut[:_WARM], *cut]])
        rows.append(_row(label, times))
    joiner = "" if ours.names.unit == "characters" else " "
    spent: list[float] = []
    for sentence in rows_of_tokens[: count // 4]:
        began = time.perf_counter()
        ours.render(ours.predict(joiner.join(sentence)), "text", probabilities=True)
        spent.append(1000 * (time.perf_counter() - began))
    rows.append(f"one line, as `recurra predict` does it, with probabilities | {statistics.median(spent):.1f} | | ")
    pairs = [(a, b) for x, y in zip(*found, strict=True) for a, b in zip(x, y, strict=True)]
    same = sum(a == b for a, b in pairs) / len(pairs)
    return rows, (
        f"the losses of {len(losses[0])} steps differ by at most {gap:.1e} of themselves (first "
        f"{losses[0][0]:.3f}, last {losses[0][-1]:.3f}); of {len(pairs):,} tags {100 * same:.3f} % are the same."
    )


def _in_turns(pairs: Iterable[tuple[Callable[[], None], Callable[[], None]]]) -> list[tuple[float, float]]:
    """Run both of each pair, the order changing, and return their milliseconds, those of the first few left out."""
    times: list[tuple[float, float]] = []
    for number, pair in enumerate(pairs):
        spent = [0.0, 0.0]
        for k in (0, 1) if number % 2 else (1, 0):
            began = time.perf_counter()
            pair[k]()
            spent[k] = 1000 * (time.perf_counter() - began)
        times.append((spent[0], spent[1]))
    return times[_WARM:]


def _row(label: str, times: list[tuple[float, float]]) -> str:
    ours, theirs = (statistics.median(t) for t in zip(*times, strict=True))
    return f"{label} | {ours:.1f} | {theirs:.1f} | {statistics.median(b / a for a, b in times):.2f}"


if __name__ == "__main__":
    main()
