"""Text classification: one class for a whole text; sentiment, topic, the language of a name."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Batch, Cell, Steps, Trainable
from recurra.core.errors import ArgumentError, CorruptError, DataError
from recurra.data import LabelledText
from recurra.data.ragged_batches import batch_order, padded
from recurra.data.streamed import ShuffledStream, Stream
from recurra.data.text_units import TextUnits
from recurra.data.word_vectors import WordVectors
from recurra.learning import ModelFolder, restore_weights
from recurra.networks import ColumnEmbedding, Embedding, ManyToOne
from recurra.tasks.contract import (
    LOOKED_THROUGH,
    CellChoice,
    Task,
    check_size,
    choose_cell,
    full_rows,
    read_options,
    recall_cell,
)
from recurra.tasks.contract.learning_choice import WholeSequences, starting_anew
from recurra.tasks.text import (
    Answers,
    ClassifiedText,
    ManyLabels,
    ManyLabelsText,
    OneLabel,
    TextClassificationOptions,
    begin,
    check_origin,
    fingerprint,
    learned_table,
    make_classifier,
    model_readme,
    not_empty,
    place_vectors,
    read_again,
)

__all__ = ["ClassifiedText", "ManyLabelsText", "TextClassification", "TextClassificationOptions"]

_IGNORED = -100


class TextClassification(Task):
    """One class for a text: embedding, a stack of any cell in both directions, pooling over time, a softmax.

    From the command line `recurra train text-classification`; in Python `TextClassification.prepare(options, paths)`,
    then `recurra.tasks.contract.train`, or `recurra.load(folder)`.
    """

    options_type = TextClassificationOptions
    forms: ClassVar[tuple[str, ...]] = ("text", "jsonl", "table")
    network: ManyToOne

    def __init__(
        self,
        options: TextClassificationOptions,
        config: dict[str, Any],
        units: TextUnits,
        labels: tuple[str, ...],
        cell: CellChoice,
        seed: int = 0,
    ) -> None:
        self.options = options
        self.config = config
        self.units = units
        self.labels = labels
        o = options
        self.answers: Answers = ManyLabels(labels, o.separator, o.threshold) if o.separator else OneLabel(labels)
        self.seed = seed
        self.stream: Stream[LabelledText] | None = None
        self.temperature = 1.0
        self.network = _build(options, units, len(labels), cell.cell)

    @classmethod
    def prepare(
        cls,
        options: TextClassificationOptions,
        paths: Sequence[Path],
        *,
        seed: int = 0,
        cells: Sequence[type[Cell]] = (),
    ) -> Self:
        """Read the texts, make the vocabulary from the training part, and build the network."""
        cell = choose_cell(options.cell, cells)
        stream = options.stream(paths)
        texts = options.held(paths, stream)
        train = options.parts(texts, seed)["train"]
        words = [options.spelling(t.text) for t in train]
        units = TextUnits.build(
            words, options.level, min_count=options.min_count, length=options.ngram, pieces=options.pieces,
            phrases=options.phrases,
        )  # fmt: skip
        # A stream is read through once before anything is learned from it: faults are found now.
        count, labels = 0, set[str]()
        for t in stream or texts:
            count += 1
            labels.update(options.labels_of(t))
        data = {"sha256": fingerprint(texts), "texts": count, "seed": seed}
        options, config, vectors = begin(options, cell, paths, data, units.symbols)
        torch.manual_seed(seed)
        model = cls(options, config, units, tuple(sorted(labels)), cell, seed)
        model.stream = stream
        if vectors is not None:
            place_vectors(model.embedding, units.symbols, vectors)
        return model

    @classmethod
    def restore(cls, folder: ModelFolder, *, cells: Sequence[type[Cell]] = ()) -> Self:
        """Rebuild the model that a folder holds."""
        config = folder.read_config("text-classification")
        cell = recall_cell(config.get("cell"), cells)
        options = read_options(TextClassificationOptions, config.get("options"), f"{folder.path}/config.json")
        check_origin(config, ["texts", "seed"], folder.path)
        content = folder.read_vocabulary()
        labels, temperature = content.get("labels"), content.get("temperature", 1.0)
        if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
            raise CorruptError(f"{folder.path}/vocabulary.json has no labels: it is damaged or foreign")
        if type(temperature) is not float or not 0.001 < temperature < 1000:
            raise CorruptError(f"{folder.path}/vocabulary.json has no temperature: it is damaged or foreign")
        units = TextUnits.from_json(content)
        weights, _ = folder.read_model()
        if "file" not in cell.record:
            check_size(lambda: _build(options, units, len(labels), cell.cell), weights, folder.path)
        model = cls(options, config, units, tuple(labels), cell)
        restore_weights(model.network, weights, str(folder.path))
        model.temperature = temperature
        model.network.eval()
        return model

    def save(self, folder: ModelFolder) -> None:
        """Write the vocabulary, the labels, and the temperature that makes probabilities of scores."""
        more = {"labels": list(self.labels), "temperature": self.temperature}
        folder.write_vocabulary({**self.units.to_json(), **more})

    def finish(self) -> None:
        """Fit the temperature on the validation part."""
        held = self._part("validation")
        self.temperature = self.answers.temperature(self.scores([t.text for t in held]), self.answers.targets(held))

    def trainable(self) -> Trainable:
        """Return the batches, the loss and the validation for the trainer."""
        held = {t.text for part in ("validation", "test") for t in self._part(part)} if self.stream else ()
        return self.options.learned(not_empty(_Training(self, self._part("train"), self._part("validation"), held)))

    def predict(self, inputs: str | Sequence[str]) -> Any:
        """Classify raw text: a `ClassifiedText`, or `ManyLabelsText`, for one string, a list of them for several."""
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        p = self.answers.log_probabilities(self.scores(texts) / self.temperature).exp()
        found = [self.answers.answer(text, row) for text, row in zip(texts, p.tolist(), strict=True)]
        return found[0] if isinstance(inputs, str) else found

    @torch.no_grad()
    def scores(self, texts: Sequence[str]) -> Tensor:
        """Return the scores of raw texts `(N, classes)`; `answers` makes probabilities of them."""
        size = self.options.batch_size
        parts = [[self.numbers(text) for text in texts[i : i + size]] for i in range(0, len(texts), size)]
        return torch.cat([torch.zeros(0, len(self.labels)), *(self.network(_batch(part))[0] for part in parts)])

    def render(self, prediction: ClassifiedText | ManyLabelsText, form: str) -> str:
        """Return a prediction as text (labels, probabilities, text), jsonl, or table (every label)."""
        if form == "table":
            rows = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
            return "".join(f"{label}\t{q:.3f}\n" for label, q in rows) + "\n"
        found = self.answers.render(prediction, form)
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False) + "\n"

    @property
    def embedding(self) -> Embedding:
        """The table of the tokens' vectors. Raises ArgumentError where they are unit vectors."""
        assert isinstance(self.network.embed, ColumnEmbedding)
        return learned_table(self.network.embed.columns[0])

    def word_vectors(self) -> WordVectors:
        """Return the tokens and their vectors."""
        return WordVectors(self.units.symbols, self.embedding.weight.detach()[1:].numpy())

    def cut(self, text: str) -> list[tuple[str, str | None]]:
        """Cut a text into pieces, each with the token it is looked up as; None for white space between words."""
        return self.units.cut(self.options.spelling(text))

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens."""
        return self.units.encode(self.options.spelling(text))

    def numbers(self, text: str) -> Tensor:
        """Return what the network reads of a text: `(T,)`, or with the phrases of tokens `(T, columns)`."""
        return self.units.numbers(self.units.tokens(self.options.spelling(text)))

    def evaluate(self, paths: Sequence[Path] | None = None, *, part: str = "validation") -> dict[str, float]:
        """Return accuracy, macro F1 and the confusion matrix (`true_as_taken`), or micro F1, beside two baselines.

        calibration_error: how far the probability of an answer is from the share of right ones (`reliability`, in ten
        bins, each with its share); uncalibrated_error: the same without the temperature. majority: the most frequent
        class of the training texts; naive_bayes: a bag of words; both are left out where the training texts are gone.
        """
        texts = self.options.read(paths) if paths is not None else self._part(part)
        if not texts:
            raise DataError(f"the {part} part is empty: train with --{part} above zero, or give --data")
        gold, scores = self.answers.targets(texts), self.scores([t.text for t in texts])
        metrics = {"texts": float(len(texts)), **self.answers.measured(scores, gold, self.temperature)}
        try:
            train = self._part("train")
        except DataError:
            if paths is None:
                raise
        else:
            seen = {t.text for t in train}
            metrics["texts_also_in_training"] = float(sum(t.text in seen for t in texts))
            bags = [[self.encode(t.text) for t in part] for part in (train, texts)]
            metrics |= self.answers.baselines(bags[0], self.answers.targets(train), bags[1], gold)
        return metrics

    def describe(self, metrics: Mapping[str, float]) -> str:
        """Return the README of the model folder."""
        o = self.options
        kind = "labels fit a text" if o.separator else "classes a text is of"
        about = (
            f"It tells which of {len(self.labels)} {kind}: {', '.join(self.labels[:20])}. It has {o.layers} "
            f"layer{'' if o.layers == 1 else 's'} of {o.hidden_size} units of the cell `{self.config['cell']['name']}`"
            f"{'' if o.one_way else ' in each direction'}, pooled by `{o.pooling}`, "
            f"{sum(p.numel() for p in self.network.parameters()):,} parameters, and knows {self.units.size:,} "
            "tokens."
        )
        learned, held = f"{self.config['data']['texts']:,} texts", f"{100 * o.validation:g} % of each class"
        verbs = "`recurra predict FOLDER` classifies lines of text, `recurra evaluate FOLDER` measures it again."
        return model_readme("A text classifier", about, self.config, learned, held, metrics, verbs)

    def observed(self, paths: Sequence[Path], rows: int, steps: int) -> tuple[nn.Module, Batch]:
        """See `Observable`: the class is told at the last step."""
        if self.options.separator:
            raise ArgumentError("texts of several labels have no loss at their last step: give a model of one label")
        texts = self.options.read(paths)[:LOOKED_THROUGH]
        whole = _batch([self.numbers(t.text) for t in texts], self.answers.targets(texts))
        return self.network, full_rows(whole, rows, steps)

    def _part(self, part: str) -> list[LabelledText]:
        """Read a part of the training run's texts again."""
        o = self.options
        texts = read_again(self.config, part, lambda files: o.held(files, o.stream(files)))
        return o.parts(texts, self.config["data"]["seed"])[part]


class _Training(WholeSequences):
    """A classifier as the trainer sees it; what it calls tokens are texts."""

    def __init__(
        self,
        model: TextClassification,
        train: Sequence[LabelledText],
        validation: Sequence[LabelledText],
        held: Container[str],
    ) -> None:
        self.network: nn.Module = model.network
        self._model = model
        self._answers = model.answers
        self._train = [] if model.stream else [model.numbers(t.text) for t in train]
        self._held = [model.numbers(t.text) for t in validation]
        self._targets, self._gold = model.answers.targets(train), model.answers.targets(validation)
        self._shown = validation[0].text
        self._streamed = model.stream and ShuffledStream(
            model.stream, model.options.batch_size, model.seed,
            size=lambda t: len(t.text), keep=lambda t: t.text not in held,
        )  # fmt: skip
        self._weights = model.answers.weights(self._targets) if model.options.class_weights else None

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        if self._streamed is not None:
            for texts in self._streamed.batches(epoch, start):
                yield _batch([self._model.numbers(t.text) for t in texts], self._answers.targets(texts))
            return
        lengths = [len(ids) for ids in self._train]
        for rows in batch_order(lengths, self._model.options.batch_size, self._model.seed, epoch, start):
            yield _batch([self._train[i] for i in rows], self._targets[rows])

    def count(self, epoch: int) -> int:
        size = self._model.options.batch_size
        return math.ceil(len(self._train) / size) if self._streamed is None else self._streamed.count(epoch)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        assert batch.targets is not None
        outputs, _ = self.network(batch)
        losses = self._answers.losses(outputs, batch.targets, self._weights)
        return losses.mean(), len(losses)

    def steps(self, batch: Batch) -> Steps:
        """The loss stands at each text's last step, where its class is told."""
        assert batch.targets is not None
        assert batch.lengths is not None
        if self._weights is not None and self._model.options.learning in ("ekf", "dekf"):
            raise ArgumentError("the Kalman filters know no weights of classes: leave out --class-weights")
        last = torch.arange(batch.inputs.shape[1]) == batch.lengths[:, None] - 1
        targets = torch.where(last, batch.targets[:, None], _IGNORED)
        whole = replace(batch, targets=targets, resets=starting_anew(batch))
        return Steps(self.network, whole, self._step_loss, len(last))

    def _step_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, self._weights, ignore_index=_IGNORED, reduction="sum")

    def validate(self) -> dict[str, float]:
        """The loss is told at the temperature that `finish` would give the answers.

        A network grows too sure of itself while its answers still get better. The raw loss would take the weights of
        an epoch far too early: what is sure too soon is mended by the temperature, what is not learned is not.
        """
        size = self._model.options.batch_size
        parts = [self.network(_batch(self._held[i : i + size]))[0] for i in range(0, len(self._held), size)]
        scores = torch.cat(parts)
        quality = {f"val_{k}": v for k, v in self._answers.quality(scores, self._gold).items()}
        tempered = scores / self._answers.temperature(scores, self._gold)
        return {"val_loss": float(self._answers.losses(tempered, self._gold, None).mean()), **quality}

    def sample(self) -> str | None:
        return self._model.render(self._model.predict(self._shown), "text").rstrip("\n")


def _build(options: TextClassificationOptions, units: TextUnits, classes: int, cell: type[Cell]) -> ManyToOne:
    o = options
    return make_classifier(
        cell, units, classes, embedding_size=o.embedding_size, hidden_size=o.hidden_size, layers=o.layers,
        dropout=o.dropout, token_dropout=o.token_dropout, one_way=o.one_way, pooling=o.pooling, one_hot=o.one_hot,
    )  # fmt: skip


def _batch(texts: Sequence[Tensor], targets: Tensor | None = None) -> Batch:
    ids, lengths = padded(texts)
    return Batch(ids, targets, lengths=lengths)
