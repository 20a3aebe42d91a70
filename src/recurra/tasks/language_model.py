"""Language models: the probability of the next character, byte or word, learned from any text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from recurra.core import Batch, Cell, Trainable
from recurra.core.errors import ArgumentError, CorruptError, DataError
from recurra.data.ngram import NGram
from recurra.data.split import split
from recurra.data.streams import StreamReader
from recurra.data.text import Document, digest, read_documents
from recurra.data.vocabulary import Vocabulary
from recurra.decoding import Greedy, RepetitionPenalty, Sampler, free_run, until
from recurra.heads import Softmax
from recurra.layers import Recurrent
from recurra.learning import RULES, ByRule, ModelFolder, restore_weights
from recurra.networks import Embedding, OneHot, Readout, Synchronous, TiedReadout
from recurra.tasks.contract import (
    CellChoice,
    Task,
    check_size,
    choose_cell,
    full_rows,
    option,
    read_options,
    recall_cell,
)
from recurra.tasks.contract.stream_training import StreamTraining, predicted_nats

__all__ = ["LanguageModel", "LanguageModelOptions", "Score"]

_TIED_STD = 0.1
_MOST, _MOST_LAYERS = 2**31, 1000
_UNITS = {"char": "character", "byte": "byte", "word": "word"}


@dataclass(frozen=True)
class LanguageModelOptions:
    """What a language model is made of."""

    level: Literal["char", "byte", "word"] = option("char", "what a token is: char, byte or word")
    cell: str = option("lstm", "a registered cell, or FILE.py:Class for your own")
    hidden_size: int = option(128, "units in each layer")
    layers: int = option(2, "layers")
    dropout: float = option(0.0, "probability of dropout between layers and before the output")
    embedding: Literal["learned", "one-hot"] = option("learned", "how tokens become vectors: learned or one-hot")
    embedding_size: int | None = option(None, "size of a learned embedding (default: the hidden size)")
    tie: bool = option(False, "use the embedding's table for the output too")
    window: int = option(50, "steps between updates (k1), the length of a window")
    backprop: int | None = option(
        None, "steps the gradient goes back (k2), a multiple of the window (default: the window)"
    )
    window_from: int | None = option(
        None, "steps of the first epoch's windows, which double with each epoch (default: the window)"
    )
    sampled_inputs: float = option(
        0.0, "scheduled sampling: share of inputs drawn from the model's own guesses, reached over five epochs"
    )
    learning: Literal["tbptt", "bptt", "rtrl", "snap1", "uoro", "ekf", "dekf"] = option(
        "tbptt", "learning rule: tbptt, bptt (documents that fit in a window), rtrl, snap1, uoro, ekf or dekf"
    )
    batch_size: int = option(50, "streams read side by side")
    validation: float = option(0.05, "share of the text, at its end, kept for validation")
    test: float = option(0.0, "share of the text, at the very end, kept for a last test")
    min_count: int = option(1, "tokens seen less often than this in training are unknown")
    max_vocabulary: int | None = option(None, "keep only that many tokens, the most frequent ones (default: all)")

    def __post_init__(self) -> None:
        for name in (
            "hidden_size",
            "layers",
            "embedding_size",
            "window",
            "backprop",
            "window_from",
            "batch_size",
            "min_count",
        ):
            value = getattr(self, name)
            most = _MOST_LAYERS if name == "layers" else _MOST
            if value is not None and not 1 <= value <= most:
                raise ArgumentError(f"{name} must be at least 1 and at most {most:,}, got {value}")
        choices = {"level": tuple(_UNITS), "embedding": ("learned", "one-hot"), "learning": tuple(RULES)}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ArgumentError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if not 0.0 <= self.dropout < 1.0:
            raise ArgumentError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if self.backprop is not None and self.backprop % self.window:
            raise ArgumentError(f"backprop must be a multiple of the window {self.window}, got {self.backprop}")
        if self.window_from is not None and self.window_from > self.window:
            raise ArgumentError(f"window_from must be at most the window {self.window}, got {self.window_from}")
        if not 0.0 <= self.sampled_inputs <= 1.0:
            raise ArgumentError(f"sampled_inputs must be from 0 to 1, got {self.sampled_inputs}")
        if self.tie and self.embedding == "one-hot":
            raise ArgumentError("tie needs a learned embedding: one-hot vectors have no table to share")


@dataclass(frozen=True)
class Score:
    """How likely a line of text is: the log-probability of each of its tokens, in nats, given those before it."""

    text: str
    tokens: list[str]
    log_probabilities: list[float]

    @property
    def total(self) -> float:
        """The line's log-probability."""
        return math.fsum(self.log_probabilities)

    @property
    def mean(self) -> float:
        """The same a token: lines of different lengths compare by it."""
        return self.total / max(len(self.log_probabilities), 1)


class LanguageModel(Task):
    """Predicts the next token: o_t = x_{t+1}, with the state carried through each document.

    From the command line `recurra train language-model`; in Python `LanguageModel.prepare(options, paths)`, then
    `recurra.tasks.contract.train`, or `recurra.load(folder)`.
    """

    options_type = LanguageModelOptions
    network: Synchronous

    def __init__(self, options: LanguageModelOptions, config: dict[str, Any], vocabulary: Vocabulary, cell: CellChoice):
        self.options = options
        self.config = config
        self.vocabulary = vocabulary
        self.network = _build(options, vocabulary.size, cell.cell)
        self.head = Softmax()

    @classmethod
    def prepare(
        cls,
        options: LanguageModelOptions,
        paths: Sequence[Path],
        *,
        seed: int = 0,
        cells: Sequence[type[Cell]] = (),
    ) -> Self:
        """Read the text, make the vocabulary from its training part, and build the network."""
        cell = choose_cell(options.cell, cells)
        documents = read_documents(paths)
        parts = _split(documents, options)
        vocabulary = Vocabulary.build(
            [d.text for d in parts["train"]],
            level=options.level,
            min_count=options.min_count,
            max_size=options.max_vocabulary,
        )
        config = {
            "options": {**asdict(options), "cell": cell.spec},
            "cell": cell.record,
            "data": {"sha256": digest(documents), "characters": sum(len(d.text) for d in documents)},
            "files": [str(path.absolute()) for path in paths],
        }
        torch.manual_seed(seed)
        return cls(options, config, vocabulary, cell)

    @classmethod
    def restore(cls, folder: ModelFolder, *, cells: Sequence[type[Cell]] = ()) -> Self:
        """Rebuild the model that a folder holds."""
        config = folder.read_config("language-model")
        cell = recall_cell(config.get("cell"), cells)
        options = read_options(LanguageModelOptions, config.get("options"), f"{folder.path}/config.json")
        _check_data(config, folder.path)
        vocabulary = Vocabulary.from_json(folder.read_vocabulary())
        weights, _ = folder.read_model()
        if "file" not in cell.record:  # The user's own cells need not be able to do without memory.
            check_size(lambda: _build(options, vocabulary.size, cell.cell), weights, folder.path)
        model = cls(options, config, vocabulary, cell)
        restore_weights(model.network, weights, str(folder.path))
        model.network.eval()
        return model

    def save(self, folder: ModelFolder) -> None:
        """Write the vocabulary."""
        folder.write_vocabulary(self.vocabulary.to_json())

    def trainable(self) -> Trainable:
        """Return the streams, the loss and the validation for the trainer."""
        o, encoded = self.options, self.encode(self._part("train"))
        longest = max(map(len, encoded), default=0) - 1
        if o.learning == "bptt" and longest > (o.window_from or o.window):
            raise ArgumentError(f"bptt needs whole documents: give --window {longest:,}, or --learning tbptt")
        streams = StreamTraining(
            self.network, encoded, self.encode(self._part("validation")), batch_size=o.batch_size, window=o.window,
            backprop=o.backprop, first_window=o.window_from, sampled=o.sampled_inputs,
            sample=lambda: "".join(self.generate(length=200, temperature=0.8)),
        )  # fmt: skip
        return streams if o.learning == "tbptt" else ByRule(streams, o.learning)

    def predict(self, inputs: str | Sequence[str]) -> Any:
        """Score text: how likely is each token, after a line break? One `Score` a line, or one for one string."""
        if isinstance(inputs, str):
            return self._score(inputs)
        return [self._score(line) for line in inputs]

    def generate(
        self,
        prompt: str = "",
        length: int = 500,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: str | None = None,
        repetition_penalty: float = 1.0,
    ) -> Iterator[str]:
        """Yield text as it is written, at most `length` tokens, up to `stop` where that appears.

        temperature 0 takes the likeliest token. An empty prompt starts after a line break; any other counts as written.
        """
        choose = Greedy() if temperature == 0 else Sampler(temperature, top_k, top_p, seed)
        if length < 0:
            raise ArgumentError(f"length must be zero or above, got {length}")
        start = torch.as_tensor(self.vocabulary.encode(prompt)) if prompt else self._start_ids()
        choose = RepetitionPenalty(choose, repetition_penalty, start[None] if prompt else None)
        pieces = self._decoded(free_run(self.network, start[None], length, choose))
        return until(pieces, stop) if stop else pieces

    def evaluate(self, paths: Sequence[Path] | None = None, *, part: str = "validation") -> dict[str, float]:
        """Return nats and bits a token and a character, perplexity, and what a unigram and a bigram model reach.

        paths: other text than that of the training run, all of it; part: else "train", "validation" or "test".
        The baselines count the training text, and are left out where other text is measured and that one is gone.
        """
        documents = read_documents(paths) if paths is not None else self._part(part)
        if not documents:
            raise DataError(f"the {part} part is empty: train with --{part} above zero, or give --data")
        encoded = self.encode(documents)
        nats, tokens = predicted_nats(self.network, encoded, self.options.batch_size, self.options.window)
        # The first token of a document is not predicted, and so its characters do not count.
        firsts = sum(len(self.vocabulary.decode(ids[:1])) for ids in encoded)
        characters = max(sum(len(d.text) for d in documents) - firsts, 1)
        metrics = {
            "tokens": float(tokens),
            "nats": nats / tokens,
            "bits": nats / tokens / math.log(2),
            "perplexity": math.exp(nats / tokens),
            "nats_per_character": nats / characters,
            "bits_per_character": nats / characters / math.log(2),
        }
        try:
            training = self.encode(self._part("train"))
        except DataError:
            if paths is None:
                raise
            return metrics
        for name, order in (("unigram", 1), ("bigram", 2)):
            baseline = NGram(order, self.vocabulary.size)
            baseline.fit(training)
            total, count = baseline.nats(encoded)
            metrics[f"{name}_nats"] = total / count
            metrics[f"{name}_perplexity"] = math.exp(total / count)
        return metrics

    def describe(self, metrics: Mapping[str, float]) -> str:
        """Return the README of the model folder."""
        o, data = self.options, self.config["data"]
        size = sum(p.numel() for p in self.network.parameters())
        names = ", ".join(Path(file).name for file in self.config["files"])
        rows = (("this model", "nats"), ("bigrams, counted", "bigram_nats"), ("unigrams, counted", "unigram_nats"))
        lines = [
            "# A language model",
            "",
            f"It predicts the next {_UNITS[o.level]} of a text. It has {_count(o.layers, 'layer')} of "
            f"{_count(o.hidden_size, 'unit')} of the cell `{self.config['cell']['name']}`, {size:,} parameters, and "
            f"knows {self.vocabulary.size:,} symbols.",
            "",
            f"It learned from {names}: {data['characters']:,} characters (SHA-256 {data['sha256'][:16]}…), read as "
            f"{_count(o.batch_size, 'stream')} in windows of {_count(o.window, _UNITS[o.level])}.",
            "",
            f"On the last {100 * o.validation:g} % of the text, which it never learned from:"
            if not o.test
            else f"On the {100 * o.validation:g} % of the text kept for validation, which it never learned from:",
            "",
            f"| | nats a {_UNITS[o.level]} | bits a {_UNITS[o.level]} | perplexity |",
            "|---|---:|---:|---:|",
            *(
                f"| {name} | {metrics[key]:.4f} | {metrics[key] / math.log(2):.4f} | {math.exp(metrics[key]):.2f} |"
                for name, key in rows
            ),
            "",
            "`recurra generate FOLDER` writes text with it, `recurra predict FOLDER` scores lines of text, "
            "`recurra evaluate FOLDER` measures it again.",
        ]
        return "\n".join(lines)

    def observed(self, paths: Sequence[Path], rows: int, steps: int) -> tuple[nn.Module, Batch]:
        """See `Observable`."""
        reader = StreamReader(self.encode(read_documents(paths)), rows, steps)
        return self.network, full_rows(next(iter(reader.batches())), rows, steps)

    def encode(self, documents: Sequence[Document]) -> list[Any]:
        """Return the token numbers of each document."""
        return [self.vocabulary.encode(d.text) for d in documents]

    @torch.inference_mode()
    def _score(self, text: str) -> Score:
        ids = self.vocabulary.encode(text)
        tokens = [self.vocabulary.decode([i]) for i in ids]
        start = self._start_ids()
        if not len(ids):
            return Score(text, [], [])
        whole = torch.cat([start, torch.as_tensor(ids)])
        outputs, _ = self.network(Batch(whole[None, :-1]))
        scores = self.head.log_probabilities(outputs, whole[None, 1:])[0, len(start) - 1 :]
        return Score(text, tokens, scores.tolist())

    def _decoded(self, written: Iterator[Tensor]) -> Iterator[str]:
        decoder = self.vocabulary.stream_decoder()
        for ids in written:
            if piece := decoder.push(int(ids)):
                yield piece
        if rest := decoder.finish():
            yield rest

    def _start_ids(self) -> Tensor:
        """Return what stands before a text's first token: a line break, or the first symbol where there is none."""
        ids = torch.as_tensor(self.vocabulary.encode("\n"))
        known = bool(len(ids)) and int(ids[0]) != self.vocabulary.unknown_id
        return ids if known else torch.zeros(1, dtype=torch.int64)

    def _part(self, part: str) -> list[Document]:
        """Read a part of the training run's text again."""
        if part not in ("train", "validation", "test"):
            raise ArgumentError(f"part must be train, validation or test, got {part!r}")
        documents = read_documents([Path(path) for path in self.config["files"]])
        if digest(documents) != self.config["data"]["sha256"]:
            raise DataError(f"{', '.join(self.config['files'])} changed since the model was trained: give --data")
        return _split(documents, self.options)[part]


def _build(options: LanguageModelOptions, symbols: int, cell: type[Cell]) -> Synchronous:
    std = _TIED_STD if options.tie else 1.0
    size = options.embedding_size or options.hidden_size
    embed = OneHot(symbols) if options.embedding == "one-hot" else Embedding(symbols, size, std)
    recurrent = Recurrent(
        cell, embed.size, options.hidden_size, options.layers, dropout=options.dropout, batch_first=True
    )
    if options.tie and isinstance(embed, Embedding):
        return Synchronous(embed, recurrent, TiedReadout(recurrent.output_size, embed, options.dropout))
    return Synchronous(embed, recurrent, Readout(recurrent.output_size, symbols, options.dropout))


def _split(documents: Sequence[Document], options: LanguageModelOptions) -> dict[str, list[Document]]:
    parts = split(documents, validation=options.validation, test=options.test)
    return {"train": parts.train, "validation": parts.validation, "test": parts.test}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _check_data(config: Mapping[str, Any], path: Path) -> None:
    data, files = config.get("data"), config.get("files")
    whole = isinstance(data, Mapping) and isinstance(data.get("sha256"), str) and type(data.get("characters")) is int
    if not whole or not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise CorruptError(f"{path}/config.json does not say what was learned from: it is damaged or foreign")
