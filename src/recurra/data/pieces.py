"""Pieces of words, learned from text by SentencePiece: the extra `pieces`."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, final

from recurra.core.errors import ArgumentError, CorruptError, DataError

__all__ = ["Pieces"]


@final
class Pieces:
    """Cuts text into pieces, by the unigram model of SentencePiece. Source: Kudo (2018), Kudo and Richardson (2018).

    Nothing is normalised, so that the pieces, joined, are the text again; a blank is put before it, since a word is
    another piece at the beginning than after one.

    model: the bytes of a SentencePiece model; symbols: all pieces but the unknown one, in its order.
    """

    def __init__(self, model: bytes) -> None:
        self.model = model
        try:
            self._processor: Any = _library().SentencePieceProcessor(model_proto=model)
            self.symbols = tuple(self._processor.id_to_piece(i) for i in range(1, self._processor.get_piece_size()))
        except RuntimeError as error:
            raise CorruptError(
                "vocabulary: expected a SentencePiece model: the file is damaged or foreign, take another"
            ) from error

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> Pieces:
        """Learn at most `size` pieces from some texts: of the training part alone."""
        written = io.BytesIO()
        try:
            _library().SentencePieceTrainer.train(
                sentence_iterator=(f" {line}" for text in texts for line in text.split("\n") if line),
                model_writer=written, vocab_size=size, hard_vocab_limit=False, bos_id=-1, eos_id=-1, unk_id=0,
                normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False,
                minloglevel=2, num_threads=1,
            )  # fmt: skip
        except RuntimeError as error:
            reason = str(error).splitlines()[0].rpartition("] ")[2]
            raise DataError(f"no pieces could be learned ({reason}): give another --pieces, or more text") from error
        return cls(written.getvalue())

    def cut(self, text: str) -> list[tuple[str, str]]:
        """Return what each piece says in the text, and the piece that it is looked up as."""
        cut: list[tuple[str, str]] = []
        at = -1
        for piece in self._processor.encode(f" {text}", out_type=str):
            cut.append((text[max(at, 0) : at + len(piece)], piece))
            at += len(piece)
        return cut


def _library() -> Any:
    try:
        import sentencepiece  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ArgumentError(
            "pieces of words need SentencePiece, which is not installed: pip install 'recurra[pieces]', or take "
            "another --level"
        ) from error
    return sentencepiece
