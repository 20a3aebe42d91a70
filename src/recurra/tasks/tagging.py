"""Tagging: a tag for every token; words in Chinese text, names, parts of speech."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from recurra.core import Batch, Cell, Steps, Trainable
from recurra.core.errors import ArgumentError, DataError
from recurra.data import UNKNOWN_TAG, TaggedSentence, read_tagged, spans
from recurra.data.labelled_text import stream_tagged
from recurra.data.ragged_batches import batch_order, padded
from recurra.data.span_dictionary import read_lexicon
from recurra.data.split import in_order
from recurra.data.streamed import ShuffledStream, Stream
from recurra.data.tag_links import TagLinks
from recurra.data.tag_names import TagNames
from recurra.data.tag_scores import FrequentTag, tag_scores
from recurra.data.text_units import LONGEST_NGRAM
from recurra.data.word_vectors import WordVectors
from recurra.heads import CRF, UNLABELLED
from recurra.learning import ModelFolder, restore_weights
from recurra.tasks.contract import (
    LOOKED_THROUGH,
    NOT_THERE,
    CellChoice,
    Task,
    WholeSequences,
    check_size,
    choose_cell,
    full_rows,
    option,
    read_options,
    recall_cell,
)
from recurra.tasks.text import (
    TaggedText,
    Tagger,
    TextOptions,
    begin,
    check_origin,
    count_known,
    fingerprint,
    model_readme,
    not_empty,
    place_vectors,
    read_again,
)

__all__ = ["TaggedText", "Tagging", "TaggingOptions"]


_SAMPLE = 8 << 20
"""Bytes of a stream of sentences that are read at once: each of their characters becomes a token."""


@dataclass(frozen=True)
class TaggingOptions(TextOptions):
    """What a tagger is made of, and how its data is written."""

    format: Literal["auto", "columns", "conllu", "slash", "segmented"] = option(
        "auto", "how files are written: auto, columns, conllu, slash or segmented"
    )
    scheme: Literal["auto", "none", "bio", "iob1", "bioes", "bmes", "sbe"] = option(
        "auto", "how tags spell spans: auto, none, bio, iob1, bioes, bmes or sbe"
    )
    features: bool = option(True, "inputs too: of characters the pairs with their neighbours, of words the spelling")
    unlabelled: str = option("", "the mark of tokens whose tag is not known: '?', say; any tag may stand there")
    dictionary: bool = option(False, "inputs too: which known spans (words, names) begin, end and go on at a token")
    lexicon: str = option("", "file of known words or names, one a line (a segmenter's dictionary), looked up likewise")
    characters: Literal["none", "rnn", "cnn", "ngrams"] = option(
        "none",
        "compose words of their characters too, by the cell, filters or a mean of n-grams: none, rnn, cnn or ngrams",
    )
    character_size: int = option(25, "numbers of a character's or n-gram's vector; units of each direction, or filters")
    ngram: int = option(3, "characters of each of the ngrams")
    head: Literal["crf", "softmax"] = option("crf", "crf: the best legal sequence; softmax: each tag by itself")
    dropout: float = option(0.3, "probability of dropout of the inputs, between layers and before the output")
    batch_size: int = option(32, "sentences a batch")
    validation: float = option(0.05, "share of the sentences, at their end, kept for validation")
    test: float = option(0.0, "share of the sentences, at the very end, kept for a last test")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.character_size < 1:
            raise ArgumentError(f"character_size must be at least 1, got {self.character_size}")
        if not 1 <= self.ngram <= LONGEST_NGRAM:
            raise ArgumentError(f"ngram must be from 1 to {LONGEST_NGRAM}, got {self.ngram}")


class Tagging(Task):
    """A tag for every token: embedding, a stack of any cell in both directions, and a CRF or a softmax.

    From the command line `recurra train tagging`; in Python `Tagging.prepare(options, paths)`, then
    `recurra.tasks.contract.train`, or `recurra.load(folder)`. Source: Huang, Xu and Yu (2015), Lample et al. (2016).
    """

    options_type = TaggingOptions
    forms: ClassVar[tuple[str, ...]] = ("text", "jsonl", "conll", "table")
    network: Tagger

    def __init__(
        self, options: TaggingOptions, config: dict[str, Any], names: TagNames, cell: CellChoice, seed: int = 0
    ) -> None:
        self.options = options
        self.config = config
        self.names = names
        self.stream: Stream[TaggedSentence] | None = None
        self.seed = seed
        self.network = _build(options, names, cell.cell)

    @classmethod
    def prepare(
        cls, options: TaggingOptions, paths: Sequence[Path], *, seed: int = 0, cells: Sequence[type[Cell]] = ()
    ) -> Self:
        """Read the sentences, number the tokens and tags of the training part, and build the network."""
        cell = choose_cell(options.cell, cells)
        listed = read_lexicon(options.lexicon) if options.lexicon else []
        stream = _stream(paths, options)
        sentences = _held(paths, options, stream)
        train = in_order(sentences, validation=options.validation, test=options.test)["train"]
        # A stream is read through once before anything is learned from it: faults are found now.
        links = TagLinks.of(stream) if stream else None
        names = TagNames.of(
            train, options.scheme, min_count=options.min_count, check=options.head == "crf", features=options.features,
            characters=options.characters != "none", ngram=options.ngram if options.characters == "ngrams" else 0,
            dictionary=options.dictionary, spelling=options.spelling, lexicon=listed, links=links,
        )  # fmt: skip
        count = links.sentences if links else len(sentences)
        if len(names.tags) < 2:
            raise DataError(
                f"expected at least two tags, got {', '.join(names.tags)} alone: check the column of the tags"
            )
        data: dict[str, Any] = {"sha256": fingerprint(sentences), "sentences": count}
        if listed:
            options = replace(options, lexicon=str(Path(options.lexicon).absolute()))
            data["lexicon"] = fingerprint([(line,) for line in listed])
        options, config, vectors = begin(options, cell, paths, data, names.tokens.symbols)
        torch.manual_seed(seed)
        model = cls(options, config, names, cell, seed)
        model.stream = stream
        if vectors is not None:
            place_vectors(model.network.words, names.tokens.symbols, vectors)
        return model

    @classmethod
    def restore(cls, folder: ModelFolder, *, cells: Sequence[type[Cell]] = ()) -> Self:
        """Rebuild the model that a folder holds."""
        config = folder.read_config("tagging")
        cell = recall_cell(config.get("cell"), cells)
        options = read_options(TaggingOptions, config.get("options"), f"{folder.path}/config.json")
        check_origin(config, ["sentences"], folder.path)
        names = TagNames.from_json(folder.read_vocabulary())
        weights, _ = folder.read_model()
        if "file" not in cell.record:
            check_size(lambda: _build(options, names, cell.cell), weights, folder.path)
        model = cls(options, config, names, cell)
        restore_weights(model.network, weights, str(folder.path))
        model.network.eval()
        return model

    def save(self, folder: ModelFolder) -> None:
        """Write the tokens, the tags and their scheme."""
        folder.write_vocabulary(self.names.to_json())

    def trainable(self) -> Trainable:
        """Return the batches, the loss and the validation for the trainer."""
        held = {s.tokens for part in ("validation", "test") for s in self._part(part)} if self.stream else ()
        return self.options.learned(not_empty(_Training(self, self._part("train"), self._part("validation"), held)))

    def predict(self, inputs: str | Sequence[str]) -> Any:
        """Tag raw text: a `TaggedText` for one string, a list of them for several."""
        if isinstance(inputs, str):
            return self.tag([self.names.tokenise(inputs)])[0]
        return self.tag([self.names.tokenise(text) for text in inputs])

    def word_vectors(self) -> WordVectors:
        """Return the tokens and their vectors, without those of features and characters."""
        return WordVectors(self.names.tokens.symbols, self.network.words.weight.detach()[1:].numpy())

    @torch.no_grad()
    def alternatives(self, text: str, n: int) -> list[tuple[TaggedText, float]]:
        """Return the n most probable ways to tag a text, best first, each with its probability: of a CRF alone."""
        if not isinstance(self.network.head, CRF):
            raise ArgumentError("several ways to tag a text need the head crf: this model was trained with softmax")
        tokens = self.names.tokenise(text)
        outputs, mask = self._outputs([tokens])
        found, logs = self.network.head.n_best(outputs, n, mask)
        kept = [(row, log) for row, log in zip(found[0], logs[0].exp().tolist(), strict=True) if log > 0]
        return [(self._described(tokens, row.tolist(), outputs), p) for row, p in kept]

    def render(self, prediction: TaggedText, form: str, *, probabilities: bool = False) -> str:
        """Return a prediction as text, ends of lines included: text, jsonl, conll or table."""
        return prediction.render(form, probabilities=probabilities, segments=self.segments)

    @property
    def segments(self) -> bool:
        """Whether it cuts text into words: its spans have no type, and nothing is outside of them."""
        return self.names.scheme != "none" and all("-" not in tag and tag != "O" for tag in self.names.tags)

    def evaluate(self, paths: Sequence[Path] | None = None, *, part: str = "validation") -> dict[str, float]:
        """Return accuracy, spans (conlleval's rules and strict), illegal sequences, and the baseline beside them.

        sentences_also_in_training: how many were seen there word for word; they make the scores too good. tokens: those
        whose tag is known; the others have no part in any score.

        The baseline gives each token its most frequent tag, and is left out where the training text is gone.
        """
        sentences = _read(paths, self.options) if paths is not None else self._part(part)
        if not sentences:
            raise DataError(f"the {part} part is empty: train with --{part} above zero, or give --data")
        self.names.check(sentences)
        scheme = self.names.scheme
        predicted = self.best_tags([s.tokens for s in sentences])
        metrics = {
            "sentences": float(len(sentences)),
            "tokens": float(sum(tag != UNKNOWN_TAG for s in sentences for tag in s.tags)),
            "illegal_sequences": float(sum(self.names.fault(tags) is not None for tags in predicted)),
        }
        try:
            train = self._part("train")
        except DataError:
            if paths is None:
                raise
            return metrics | tag_scores(sentences, predicted, scheme)
        known = (
            {" ".join(s.tokens[a:b]) for s in train for a, b, _ in spans([tag or "O" for tag in s.tags], scheme)}
            if scheme != "none"
            else None
        )
        metrics |= tag_scores(sentences, predicted, scheme, known)
        seen = {s.tokens for s in train}
        metrics["sentences_also_in_training"] = float(sum(s.tokens in seen for s in sentences))
        frequent = FrequentTag(train)
        baseline = tag_scores(sentences, [frequent.predict(s.tokens) for s in sentences], scheme)
        return metrics | {f"baseline_{k}": v for k, v in baseline.items() if k in ("accuracy", "f1")}

    def describe(self, metrics: Mapping[str, float]) -> str:
        """Return the README of the model folder."""
        o, names = self.options, self.names
        about = (
            f"It gives each token one of {len(names.tags)} tags (scheme `{names.scheme}`) by the head `{o.head}` over "
            f"{o.layers} layer{'' if o.layers == 1 else 's'} of {o.hidden_size} units of the cell "
            f"`{self.config['cell']['name']}`{'' if o.one_way else ' in each direction'}; "
            f"{sum(p.numel() for p in self.network.parameters()):,} parameters. It knows {names.tokens.size:,} tokens."
        )
        learned = f"{self.config['data']['sentences']:,} sentences"
        verbs = (
            "`recurra predict FOLDER` tags lines of text, `recurra segment FOLDER` cuts them into words, "
            "`recurra evaluate FOLDER` measures it again."
        )
        held = f"{100 * o.validation:g} % of the sentences"
        return model_readme("A tagger", about, self.config, learned, held, metrics, verbs)

    def observed(self, paths: Sequence[Path], rows: int, steps: int) -> tuple[nn.Module, Batch]:
        """See `Observable`."""
        whole = _batch(self.names.numbered(_read(paths, self.options)[:LOOKED_THROUGH]))
        assert whole.targets is not None
        targets = whole.targets.masked_fill(whole.targets == UNLABELLED, NOT_THERE)
        return self.network.scores, full_rows(replace(whole, targets=targets), rows, steps)

    @torch.no_grad()
    def tag(self, rows: Sequence[Sequence[str]]) -> list[TaggedText]:
        """Tag sentences that are cut into tokens already, in batches; each as if it were alone."""
        found = {i: self._described(rows[i], best, outputs) for i, best, outputs in self._decoded(rows)}
        return [found[i] for i in range(len(rows))]

    @torch.no_grad()
    def best_tags(self, rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
        """Return the tags of sentences alone, as `tag` would, several times as fast: it asks for no probability."""
        found = {i: tuple(self.names.tags[k] for k in best) for i, best, _ in self._decoded(rows)}
        return [found[i] for i in range(len(rows))]

    def _decoded(self, rows: Sequence[Sequence[str]]) -> Iterator[tuple[int, list[int], Tensor]]:
        """Yield each sentence's place, the numbers of its tags and its outputs `(1, T, K)`, by length."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for first in range(0, len(order), self.options.batch_size):
            here = order[first : first + self.options.batch_size]
            outputs, mask = self._outputs([rows[i] for i in here])
            best = self.network.head.predict(outputs, mask).tolist()
            for row, i in enumerate(here):
                yield i, best[row][: len(rows[i])], outputs[row : row + 1, : len(rows[i])]

    def _outputs(self, rows: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        ids, lengths = padded([self.names.encode(tokens) for tokens in rows])
        if not ids.shape[1]:
            ids = ids.new_zeros(len(rows), 1, *ids.shape[2:])  # A layer wants a step, if only one of padding.
        outputs, _ = self.network(Batch(ids, lengths=lengths))
        return outputs, torch.arange(ids.shape[1]) < lengths[:, None]

    def _described(self, tokens: Sequence[str], best: Sequence[int], outputs: Tensor) -> TaggedText:
        """Return the text with these tags, and how probable they are by the outputs `(1, T, K)`."""
        tags = tuple(self.names.tags[i] for i in best[: len(tokens)])
        found = spans(tags, self.names.scheme) if self.names.scheme != "none" else []
        own, together = self.network.probabilities(outputs[:, : len(tokens)], torch.tensor(best[: len(tokens)]), found)
        joiner = "" if self.names.unit == "characters" else " "
        return TaggedText(tuple(tokens), tags, own, tuple(found), together, joiner)

    def _part(self, part: str) -> list[TaggedSentence]:
        """Read a part of the training run's sentences again."""
        o = self.options
        sentences = read_again(self.config, part, lambda files: _held(files, o, _stream(files, o)))
        return in_order(sentences, validation=o.validation, test=o.test)[part]


def _build(options: TaggingOptions, names: TagNames, cell: type[Cell]) -> Tagger:
    o = options
    return Tagger(
        names, cell, embedding_size=o.embedding_size, hidden_size=o.hidden_size, layers=o.layers, dropout=o.dropout,
        token_dropout=o.token_dropout, head=o.head, one_way=o.one_way, characters=o.characters,
        character_size=o.character_size, one_hot=o.one_hot,
    )  # fmt: skip


class _Training(WholeSequences):
    """A tagger as the trainer sees it."""

    def __init__(
        self,
        model: Tagging,
        train: Sequence[TaggedSentence],
        validation: Sequence[TaggedSentence],
        held: Container[tuple[str, ...]],
    ) -> None:
        self.network: nn.Module = model.network
        self._model = model
        self._train = [] if model.stream else model.names.numbered(train)
        self._validation = model.names.numbered(validation)
        self._gold = validation
        self._streamed = model.stream and ShuffledStream(
            model.stream, model.options.batch_size, model.seed,
            size=lambda s: len(s.tokens), keep=lambda s: s.tokens not in held,
        )  # fmt: skip
        if all(not any(s.tags) for s in validation):
            raise DataError("expected known tags in the validation part, got none: shuffle the sentences")

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        if self._streamed is not None:
            for sentences in self._streamed.batches(epoch, start):
                yield _batch(self._model.names.numbered(sentences))
            return
        lengths = [len(ids) for ids, _ in self._train]
        for rows in batch_order(lengths, self._model.options.batch_size, self._model.seed, epoch, start):
            yield _batch([self._train[i] for i in rows])

    def count(self, epoch: int) -> int:
        size = self._model.options.batch_size
        return math.ceil(len(self._train) / size) if self._streamed is None else self._streamed.count(epoch)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        assert batch.targets is not None
        assert batch.lengths is not None
        outputs, _ = self.network(batch)
        mask = torch.arange(batch.inputs.shape[1]) < batch.lengths[:, None]
        tokens = count_known(batch)
        return self._model.network.head.loss(outputs, batch.targets, mask) / tokens, tokens

    def steps(self, batch: Batch) -> Steps:
        return self._model.network.steps(batch)

    def validate(self) -> dict[str, float]:
        size, total, tokens = self._model.options.batch_size, 0.0, 0
        for first in range(0, len(self._validation), size):
            loss, count = self.loss(_batch(self._validation[first : first + size]))
            total, tokens = total + float(loss) * count, tokens + count
        predicted = self._model.best_tags([s.tokens for s in self._gold])
        scores = tag_scores(self._gold, predicted, self._model.names.scheme)
        return {"val_loss": total / tokens, **{f"val_{k}": v for k, v in scores.items() if k in ("accuracy", "f1")}}

    def sample(self) -> str | None:
        return self._model.render(self._model.tag([list(self._gold[0].tokens)])[0], "text").rstrip("\n")


def _batch(sentences: Sequence[tuple[Tensor, list[int]]]) -> Batch:
    inputs, lengths = padded([ids for ids, _ in sentences])
    targets, _ = padded([tags for _, tags in sentences])
    return Batch(inputs, targets, lengths=lengths)


def _stream(paths: Sequence[Path], options: TaggingOptions) -> Stream[TaggedSentence] | None:
    return stream_tagged(paths, options.format, most=options.in_memory << 20, unlabelled=options.unlabelled)


def _read(paths: Sequence[Path], options: TaggingOptions) -> list[TaggedSentence]:
    return read_tagged(paths, options.format, unlabelled=options.unlabelled)


def _held(
    paths: Sequence[Path], options: TaggingOptions, stream: Stream[TaggedSentence] | None
) -> list[TaggedSentence]:
    """Return all sentences; of a stream some from everywhere: for the tokens, for measuring, for the baseline."""
    return _read(paths, options) if stream is None else stream.sample(_SAMPLE)
