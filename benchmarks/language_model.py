"""recurra's language model against the same model in plain torch, trained in the same run on the same text.

Both have an embedding, a stack of 2 layers of 128 and a linear layer, and learn the bundled Shakespeare (1.1 million
characters, the last 5 % for validation) in windows of 50 and batches of 50 by Adam, learning rate 0.002, gradients
clipped to the norm 5. Both get the very same batches, so the number of steps is the same, and they take turns step by
step, so that whatever else the machine does slows both alike: the ratio of the times counts, not the times.

In the first seed's run both start from the very same weights and must follow the same curve to float noise; in the runs
of the other seeds each draws its own weights from the same distributions.

    python benchmarks/language_model.py --epochs 4 --seeds 3 --cell lstm
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Batch
from recurra.data import StreamReader, read_documents, sample_path, split
from recurra.learning import TrainerOptions, clip_gradients, make_optimizer
from recurra.tasks.language_model import LanguageModel, LanguageModelOptions

__all__ = ["Curve", "PlainModel", "main", "run_seed"]

RESULTS = Path(__file__).with_name("results") / "language_model.md"
TRAINING = TrainerOptions()
IGNORED = -100
TORCH_LAYERS: dict[str, type[nn.RNNBase]] = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@dataclass
class Curve:
    """What one model did in one run: the loss of every step and its seconds, and the validation loss at the end."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    val_loss: float = math.nan


class PlainModel(nn.Module):
    """The language model as one writes it in plain torch: nn.Embedding, nn.LSTM (or its like), nn.Linear."""

    def __init__(self, layer: type[nn.RNNBase], symbols: int, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, hidden_size)
        self.recurrent = layer(hidden_size, hidden_size, layers, batch_first=True)
        self.linear = nn.Linear(hidden_size, symbols)

    def forward(self, inputs: Tensor, state: object = None) -> tuple[Tensor, object]:
        """Return the scores `(B, T, symbols)` and the new state."""
        y, state = self.recurrent(self.embedding(inputs), state)
        return self.linear(y), state

    def take_weights(self, recurra: nn.Module) -> None:
        """Copy the weights of recurra's network, which have other names and the same shapes in the same order."""
        for own, theirs in zip(self.parameters(), recurra.parameters(), strict=True):
            own.data.copy_(theirs.data)


def run_seed(seed: int, cell: str, epochs: int, steps: int | None, same_weights: bool) -> tuple[Curve, Curve]:
    """Train both models from one seed, in turns; return recurra's curve and plain torch's."""
    options = LanguageModelOptions(cell=cell)
    text = sample_path("shakespeare")
    ours = LanguageModel.prepare(options, [text], seed=seed)
    training = ours.trainable()
    theirs = PlainModel(TORCH_LAYERS.get(cell, nn.LSTM), ours.vocabulary.size, options.hidden_size, options.layers)
    if same_weights:
        theirs.take_weights(ours.network)
    curves = Curve(), Curve()
    optimizer = make_optimizer(ours.network, TRAINING)

    def learn_ours(batch: Batch) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss, _ = training.loss(batch)
        loss.backward()
        clip_gradients(ours.network.parameters(), norm=TRAINING.clip_norm)
        optimizer.step()
        return loss.item()

    learn_theirs = _plain_learner(theirs)
    for epoch in range(epochs):
        training.restore({})
        for number, batch in enumerate(training.batches(epoch)):
            turns = [(learn_ours, curves[0]), (learn_theirs, curves[1])]
            for learn, curve in turns if number % 2 else reversed(turns):
                began = time.perf_counter()
                curve.losses.append(learn(batch))
                curve.seconds.append(time.perf_counter() - began)
            if len(curves[0].losses) == steps:
                break
        curves[0].val_loss = _validate_ours(ours)
        curves[1].val_loss = _validate_plain(theirs, _validation_batches(ours))
        print(
            f"seed {seed}, epoch {epoch + 1}: {len(curves[0].losses)} steps, validation "
            f"{curves[0].val_loss:.4f} (recurra) {curves[1].val_loss:.4f} (torch) nats, "
            f"{statistics.median(curves[0].seconds) * 1e3:.0f} and {statistics.median(curves[1].seconds) * 1e3:.0f} ms",
            flush=True,
        )
        if len(curves[0].losses) == steps:
            break
    return curves


def main(arguments: list[str] | None = None) -> None:
    """Run all seeds, write the table with the machine's description, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4, help="passes over the text")
    parser.add_argument("--seeds", type=int, default=3, help="runs; the first starts both models from the same weights")
    parser.add_argument("--cell", default="lstm", help="recurra's cell; torch takes nn.LSTM where it has no such layer")
    parser.add_argument("--steps", type=int, help="stop each run after so many steps (to try the script)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file to write")
    chosen = parser.parse_args(arguments)
    runs: list[tuple[Curve, Curve]] = []
    for seed in range(chosen.seeds):
        same = seed == 0 and chosen.cell in TORCH_LAYERS
        runs.append(run_seed(seed, chosen.cell, chosen.epochs, chosen.steps, same))
        # After every run, so that a run that is broken off leaves those that were finished.
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(_report(runs, chosen), encoding="utf-8")
    print(_report(runs, chosen))


def _plain_learner(model: PlainModel) -> Callable[[Batch], float]:
    """Return the hand-written step: carried and detached state, cross entropy, clipping, Adam."""
    optimizer = make_optimizer(model, TRAINING)
    state: object = None

    def learn(batch: Batch) -> float:
        nonlocal state
        if batch.resets is not None:
            state = None  # The text is one document: all rows start anew together, where an epoch begins.
        optimizer.zero_grad(set_to_none=True)
        scores, state = model(batch.inputs, state)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        loss = F.cross_entropy(scores.flatten(0, 1), _targets(batch).flatten(), ignore_index=IGNORED)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), TRAINING.clip_norm)
        optimizer.step()
        return loss.item()

    return learn


def _targets(batch: Batch) -> Tensor:
    """Return the targets; those beyond a row's length (only at the very end of an epoch) do not count."""
    assert batch.targets is not None
    if batch.lengths is None:
        return batch.targets
    valid = torch.arange(batch.inputs.shape[1]) < batch.lengths[:, None]
    return batch.targets.masked_fill(~valid, IGNORED)


def _validation_batches(model: LanguageModel) -> Iterable[Batch]:
    parts = split(read_documents([sample_path("shakespeare")]), validation=model.options.validation)
    return StreamReader(model.encode(parts.validation), model.options.batch_size, model.options.window).batches()


def _validate_ours(model: LanguageModel) -> float:
    model.network.eval()
    loss = model.trainable().validate()["val_loss"]
    model.network.train()
    return loss


@torch.no_grad()
def _validate_plain(model: PlainModel, batches: Iterable[Batch]) -> float:
    state: object = None
    total, count = 0.0, 0
    for batch in batches:
        scores, state = model(batch.inputs, state)
        targets = _targets(batch)
        total += F.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum").item()
        count += int((targets != IGNORED).sum())
    return total / count


def _report(runs: list[tuple[Curve, Curve]], chosen: argparse.Namespace) -> str:
    same = chosen.cell in TORCH_LAYERS
    layer = TORCH_LAYERS.get(chosen.cell, nn.LSTM).__name__
    steps = len(runs[0][0].losses)
    per_epoch = steps / chosen.epochs
    rows = [
        f"| {seed} | {'the same' if seed == 0 and same else 'each its own'} | {ours.val_loss:.4f} "
        f"| {theirs.val_loss:.4f} | {sum(ours.seconds) / chosen.epochs:.1f} "
        f"| {sum(theirs.seconds) / chosen.epochs:.1f} | {_ratio(ours, theirs):.2f} |"
        for seed, (ours, theirs) in enumerate(runs)
    ]
    means = [statistics.fmean(curve.val_loss for curve in column) for column in zip(*runs, strict=True)]
    lines = [
        "# A language model: recurra beside plain torch",
        "",
        f"2 layers of 128 (`{chosen.cell}` beside `nn.{layer}`), windows of 50, batches of 50, the last 5 % of the "
        f"text for validation; {chosen.epochs} epoch(s) of the bundled Shakespeare (1,110,265 characters), "
        f"{steps:,} steps ({per_epoch:.0f} an epoch) of Adam, learning rate {TRAINING.learning_rate:g}, gradients "
        f"clipped to the norm {TRAINING.clip_norm:g}. Made by `benchmarks/language_model.py --epochs {chosen.epochs} "
        f"--seeds {chosen.seeds} --cell {chosen.cell}` on {datetime.now(UTC):%Y-%m-%d}; "
        f"{len(runs)} of {chosen.seeds} runs finished.",
        "",
        "| seed | first weights | recurra, nats a character | torch, nats a character "
        "| recurra, s an epoch | torch, s an epoch | time, recurra : torch |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Mean validation loss: recurra {means[0]:.4f}, torch {means[1]:.4f} nats a character.",
        "",
    ]
    if same:
        ours, theirs = runs[0]
        gaps = [abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True)]
        lines += [
            f"From the same weights the two losses differ by at most {max(gaps[:100]):.1e} in the first 100 steps and "
            f"by at most {max(gaps):.1e} in all {steps:,}: rounding alone, which training amplifies.",
            "",
        ]
    lines += [
        "Time is that of the training steps (batch to updated weights), validation apart. The models take turns step "
        "by step, and the ratio is the median over the steps of recurra's time over torch's, below 1 where recurra is "
        "faster. The machine is shared with other work: only ratios count.",
        "",
        f"Machine: {_processor()}, threads: {torch.get_num_threads()}, {platform.system()} {platform.machine()}; "
        f"Python {platform.python_version()}, torch {torch.__version__} "
        f"({torch.backends.cpu.get_cpu_capability()}).",
        "",
    ]
    return "\n".join(lines)


def _ratio(ours: Curve, theirs: Curve) -> float:
    return statistics.median(a / b for a, b in zip(ours.seconds, theirs.seconds, strict=True))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


if __name__ == "__main__":
    main()
