"""Word embeddings: a vector for every word, by word2vec; near each other where words are used alike."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from recurra.core import Batch, Cell
from recurra.core.errors import ArgumentError, CorruptError, DataError
from recurra.data import Document, digest, read_documents, split, split_words
from recurra.data.spelling import Spelling
from recurra.data.symbols import SymbolTable
from recurra.data.word_pairs import Examples, WordPairs
from recurra.data.word_vectors import Neighbour, WordVectors
from recurra.learning import ModelFolder, restore_weights
from recurra.networks import Word2Vec
from recurra.tasks.contract import Task, check_size, check_values, option, read_options

__all__ = ["Embeddings", "EmbeddingsOptions"]


@dataclass(frozen=True)
class EmbeddingsOptions:
    """How vectors of words are learned."""

    level: Literal["word", "blanks", "char"] = option(
        "word", "what a word is: word (an ideograph is one), blanks (what they separate) or char"
    )
    method: Literal["skipgram", "cbow"] = option("skipgram", "skipgram: neighbours from a word; cbow: it from them")
    embedding_size: int = option(100, "size of a word's vector")
    window: int = option(5, "the farthest neighbour that counts; each word draws its reach from 1 to it")
    negatives: int = option(5, "random words beside each true one")
    subsample: float = option(0.001, "words more frequent than this share are left out at random; 0: none")
    min_count: int = option(5, "words seen less often than this are passed over")
    batch_size: int = option(1024, "examples a batch")
    lower: bool = option(False, "read the text in small letters")
    zeros: bool = option(False, "read every digit as 0")
    validation: float = option(0.02, "share of the text, at its end, kept for validation")

    def __post_init__(self) -> None:
        check_values(self, ("embedding_size", "window", "negatives", "min_count", "batch_size"))
        if not (0 <= self.subsample <= 1 and 0 < self.validation < 1):
            raise ArgumentError(
                "subsample must be from 0 to 1 and validation above 0 and below 1, "
                f"got {self.subsample} and {self.validation}"
            )


class Embeddings(Task):
    """word2vec on files of text: skip-gram or CBOW with negative sampling; each line stands alone.

    From the command line `recurra train embeddings`, then `recurra similar FOLDER WORD`, or the folder as `--vectors`
    of another task. Unlike the authors' program it learns in batches, by the trainer's optimiser.
    """

    options_type = EmbeddingsOptions
    forms: ClassVar[tuple[str, ...]] = ("text", "jsonl")
    network: Word2Vec

    def __init__(
        self,
        options: EmbeddingsOptions,
        config: dict[str, Any],
        words: SymbolTable,
        counts: Sequence[int],
        seed: int = 0,
    ) -> None:
        self.options = options
        self.config = config
        self.words = words
        self.counts = tuple(counts)
        self.seed = seed
        self.network = Word2Vec(len(words.symbols), options.embedding_size)

    @classmethod
    def prepare(
        cls, options: EmbeddingsOptions, paths: Sequence[Path], *, seed: int = 0, cells: Sequence[type[Cell]] = ()
    ) -> Self:
        """Read the text, count the words of the training part, and draw the first vectors."""
        documents = read_documents(paths)
        counts = Counter(word for line in _lines(_parts(documents, options)[0], options) for word in line)
        words = SymbolTable.build([counts.elements()], min_count=options.min_count)
        if len(words.symbols) < 2:
            raise DataError(
                f"expected at least two words seen {options.min_count} times or more, got {len(words.symbols)}: give "
                "more text, or a smaller --min-count"
            )
        config = {
            "options": asdict(options),
            "data": {"sha256": digest(documents), "words": counts.total(), "seed": seed},
            "files": [str(path.absolute()) for path in paths],
        }
        torch.manual_seed(seed)
        return cls(options, config, words, [counts[word] for word in words.symbols], seed)

    @classmethod
    def restore(cls, folder: ModelFolder, *, cells: Sequence[type[Cell]] = ()) -> Self:
        """Take the model out of its folder."""
        config = folder.read_config("embeddings")
        options = read_options(EmbeddingsOptions, config.get("options"), f"{folder.path}/config.json")
        data, files, content = config.get("data"), config.get("files"), folder.read_vocabulary()
        if not isinstance(data, dict) or not isinstance(files, list) or not {"sha256", "words", "seed"} <= set(data):
            raise CorruptError(f"{folder.path}/config.json does not say what was learned from: it is damaged")
        words, counts = SymbolTable.from_json(content.get("symbols")), content.get("counts")
        if not isinstance(counts, list) or len(counts) != len(words.symbols) or not all(
            type(n) is int and n > 0 for n in counts
        ):  # fmt: skip
            raise CorruptError(f"{folder.path}/vocabulary.json lacks the counts of its words: it is damaged or foreign")
        weights, _ = folder.read_model()
        check_size(lambda: Word2Vec(len(words.symbols), options.embedding_size), weights, folder.path)
        model = cls(options, config, words, counts, data["seed"])
        restore_weights(model.network, weights, str(folder.path))
        return model

    def save(self, folder: ModelFolder) -> None:
        """Write the words and how often each was seen."""
        folder.write_vocabulary({"symbols": self.words.to_json(), "counts": list(self.counts)})

    def trainable(self) -> _Training:
        """Return what the trainer needs."""
        train, validation = _parts(self._documents(), self.options)
        return _Training(self, self.pairs(train), self.pairs(validation))

    def word_vectors(self) -> WordVectors:
        """Return the words, the most frequent first, and their vectors."""
        return WordVectors(self.words.symbols, self.network.inputs.weight.detach().numpy())

    def predict(self, inputs: str | Sequence[str]) -> Any:
        """Return the ten nearest words of a word, or a list of such lists for several."""
        vectors = self.word_vectors()
        if isinstance(inputs, str):
            return vectors.near(inputs)
        return [vectors.near(word) for word in inputs]

    def render(self, prediction: Sequence[Neighbour], form: str) -> str:
        """Return neighbours as text: text (word and cosine, one a line, then an empty line) or jsonl."""
        if form == "jsonl":
            return json.dumps([n._asdict() for n in prediction], ensure_ascii=False) + "\n"
        return "".join(f"{n.word}\t{n.cosine:.3f}\n" for n in prediction) + "\n"

    def evaluate(self, paths: Sequence[Path] | None = None, *, part: str = "validation") -> dict[str, float]:
        """Return the nats an example, beside those of vectors that know nothing."""
        if part not in ("train", "validation"):
            raise ArgumentError(f"part must be train or validation, got {part!r}")
        chosen = (
            read_documents(paths) if paths is not None else _parts(self._documents(), self.options)[part != "train"]
        )
        nats, count = self.nats(self.pairs(chosen))
        if not count:
            raise DataError(f"the {part} part has no two known words in a line: give more text")
        guess = (1 + self.options.negatives) * math.log(2)
        return {"examples": float(count), "nats": nats / count, "untrained_nats": guess}

    def describe(self, metrics: Mapping[str, float]) -> str:
        """Return the README of the model folder."""
        o = self.options
        lines = [
            "# Word vectors",
            "",
            f"{len(self.words.symbols):,} words as vectors of {o.embedding_size} numbers, by word2vec ({o.method}, "
            f"window {o.window}, {o.negatives} random words beside each true one).",
            "",
            f"They were learned from {', '.join(Path(file).name for file in self.config['files'])}: "
            f"{self.config['data']['words']:,} words (SHA-256 {self.config['data']['sha256'][:16]}…).",
            "",
            f"On the last {100 * o.validation:g} % of the text: {metrics['nats']:.4f} nats an example; vectors that "
            f"know nothing have {metrics['untrained_nats']:.4f}.",
            "",
            "`recurra similar FOLDER WORD` names the words nearest to one; `--vectors FOLDER` begins another model.",
        ]
        return "\n".join(lines)

    def pairs(self, documents: Sequence[Document]) -> WordPairs:
        """Return the examples of some text; words that are not known are left out of it."""
        o = self.options
        lines = [[i - 1 for i in self.words.encode(line) if i] for line in _lines(documents, o)]
        return WordPairs(
            lines, self.counts, method=o.method, window=o.window, negatives=o.negatives, subsample=o.subsample,
            batch_size=o.batch_size,
        )  # fmt: skip

    @torch.no_grad()
    def nats(self, pairs: WordPairs) -> tuple[float, int]:
        """Return the summed loss over the examples of one fixed draw, and their number."""
        total, count = 0.0, 0
        for batch in map(_batch, pairs.batches(self.seed, 0)):
            assert batch.targets is not None
            total += float(self.network.loss(batch.inputs, batch.targets).sum())
            count += len(batch.inputs)
        return total, count

    def _documents(self) -> list[Document]:
        documents = read_documents([Path(path) for path in self.config["files"]])
        if digest(documents) != self.config["data"]["sha256"]:
            raise DataError(f"{', '.join(self.config['files'])} changed since the model was trained: give --data")
        return documents


class _Training:
    """The vectors as the trainer sees them; what it calls tokens are examples."""

    def __init__(self, model: Embeddings, train: WordPairs, validation: WordPairs) -> None:
        self.network: nn.Module = model.network
        self._model, self._train, self._validation = model, train, validation
        for part, pairs in (("training", train), ("validation", validation)):
            if next(pairs.batches(model.seed, 0), None) is None:
                raise DataError(f"the {part} part has no two known words in a line: give more text")

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        return map(_batch, self._train.batches(self._model.seed, epoch, start))

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        assert batch.targets is not None
        return self._model.network.loss(batch.inputs, batch.targets).mean(), len(batch.inputs)

    def validate(self) -> dict[str, float]:
        total, count = self._model.nats(self._validation)
        return {"val_loss": total / count}

    def carried(self) -> dict[str, Tensor]:
        return {}

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        pass

    def sample(self) -> str | None:
        words = self._model.words.symbols
        word = words[min(len(words) // 20, 100)]
        return f"{word}: {', '.join(n.word for n in self._model.word_vectors().near(word, 5))}"


def _batch(examples: Examples) -> Batch:
    return Batch(torch.from_numpy(examples.inputs), torch.from_numpy(examples.targets))


def _parts(documents: Sequence[Document], options: EmbeddingsOptions) -> tuple[list[Document], list[Document]]:
    parts = split(documents, validation=options.validation)
    return parts.train, parts.validation


def _lines(documents: Sequence[Document], options: EmbeddingsOptions) -> Iterator[list[str]]:
    """Yield the words of each line; blanks are none."""
    spelling = Spelling(options.lower, options.zeros)
    for document in documents:
        for line in spelling(document.text).split("\n"):
            if options.level == "blanks":
                yield line.split()
            else:
                pieces = split_words(line) if options.level == "word" else list(line)
                yield [piece for piece in pieces if not piece.isspace()]
