"""我爱中国: a translator from characters to English words, and what it looks at for each word that it writes.

A grammar of 528 sentences (8 subjects, 6 verbs, 11 objects) is learned but for a tenth, which is translated afterwards,
我爱中国 among it. What the decoder looks at while it writes is printed for every seed; `--out FOLDER` writes it as a
table and draws it for the first seed.

python examples/i_love_china.py [--out benchmarks/results/i_love_china]
"""

from __future__ import annotations

import argparse
import itertools
import random
from pathlib import Path

import torch
from torch import Tensor, nn

from recurra import Batch, Recurrent
from recurra.decoding import BeamOptions, beam_search
from recurra.drawing import draw_attention, heat_map
from recurra.heads import Softmax
from recurra.networks import (
    Additive,
    Decoder,
    Embedding,
    Encoder,
    EncoderDecoder,
    Readout,
    SoftAttention,
    with_attention,
)

__all__ = ["PAIRS", "main", "train"]

SUBJECTS = {
    "我": "I", "你": "you", "他": "he", "她": "she",
    "谁": "who", "妈妈": "mother", "老师": "teachers", "孩子": "children",
}  # fmt: skip
VERBS = {"爱": "love", "喜欢": "like", "想念": "miss", "画": "draw", "了解": "know", "看见": "see"}
OBJECTS = {
    "中国": "China", "美国": "America", "法国": "France", "英国": "England", "德国": "Germany", "北京": "Beijing",
    "茶": "tea", "书": "books", "猫": "cats", "狗": "dogs", "音乐": "music",
}  # fmt: skip


def _english(subject: str, verb: str, thing: str) -> list[str]:
    third = subject in ("he", "she", "who", "mother")
    return [subject, f"{verb}{'es' if verb.endswith('ss') else 's'}" if third else verb, thing]


PAIRS = [
    (list(s + v + o), _english(SUBJECTS[s], VERBS[v], OBJECTS[o]))
    for s, v, o in itertools.product(SUBJECTS, VERBS, OBJECTS)
]
"""All sentences: characters, and English words."""

CHARACTERS = sorted({c for source, _ in PAIRS for c in source})
WORDS = ["<end>", *sorted({w for _, target in PAIRS for w in target})]


def batch_of(pairs: list[tuple[list[str], list[str]]]) -> Batch:
    """Return sentences as ids, padded."""
    sources = [torch.tensor([CHARACTERS.index(c) for c in source]) for source, _ in pairs]
    targets = [torch.tensor([WORDS.index(w) for w in target]) for _, target in pairs]
    pad = nn.utils.rnn.pad_sequence
    return Batch(
        pad(sources, batch_first=True), pad(targets, batch_first=True), torch.tensor([len(s) for s in sources]),
        target_lengths=torch.tensor([len(t) for t in targets]),
    )  # fmt: skip


def train(pairs: list[tuple[list[str], list[str]]], seed: int, updates: int, size: int = 32) -> EncoderDecoder:
    """Make and train a network whose decoder hears of the source through its attention alone."""
    torch.manual_seed(seed)
    # So short a training is over before kernels are compiled.
    reader = Recurrent("gru", size, size, batch_first=True, backend="reference")
    attending = with_attention("gru", lambda q: SoftAttention(Additive(q, size)))
    writer = Recurrent(attending, size, size, batch_first=True, backend="reference")
    network = EncoderDecoder(
        Encoder(Embedding(len(CHARACTERS), size), reader),
        Decoder(Embedding(len(WORDS), size), writer, Readout(size, len(WORDS)), end=0),
    )
    head, order = Softmax(), random.Random(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(updates):
        batch = batch_of(order.sample(pairs, 64))
        outputs, _ = network(batch)
        expected, mask = network.expected(batch)
        loss = head.loss(outputs, expected, mask) / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return network.eval()


@torch.no_grad()
def translate(network: EncoderDecoder, pairs: list[tuple[list[str], list[str]]]) -> list[list[str]]:
    """Return the best translations that a beam of four finds."""
    state, context = network.encode(batch_of(pairs))
    first = torch.zeros(len(pairs), dtype=torch.int64)
    found = beam_search(network.step, first, state, end=0, context=context, options=BeamOptions(max_length=6))
    return [[WORDS[i] for i in best.ids] for best, *_ in found]


@torch.no_grad()
def attention_of(network: EncoderDecoder) -> Tensor:
    """Return the weights with which "I love China <end>" is written from 我爱中国, `(4, 4)`."""
    return network.attention(batch_of([(list("我爱中国"), ["I", "love", "China"])]))[0]


def main(arguments: list[str] | None = None) -> None:
    """Train, translate what was not learned, and show what was looked at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a folder for the table and the two pictures")
    chosen = parser.parse_args(arguments)
    pairs = [pair for pair in PAIRS if pair[0] != list("我爱中国")]
    random.Random(0).shuffle(pairs)
    kept, learned = [PAIRS[0], *pairs[:52]], pairs[52:]
    print(f"{len(PAIRS)} sentences, {len(learned)} of them learned")
    rows: list[tuple[int, list[list[float]]]] = []
    for seed in range(chosen.seeds):
        network = train(learned, seed, chosen.updates)
        translated = translate(network, kept)
        right = sum(made == target for made, (_, target) in zip(translated, kept, strict=True))
        weights = attention_of(network)
        print(f"seed {seed}: {right} of {len(kept)} new sentences right; 我爱中国: {' '.join(translated[0])}")
        for word, row in zip(("I", "love", "China", "<end>"), weights.tolist(), strict=True):
            print("  " + f"{word:6}" + "  ".join(f"{c} {w:.2f}" for c, w in zip("我爱中国", row, strict=True)))
        rows.append((right, weights.tolist()))
        if seed == 0 and chosen.out is not None:
            chosen.out.mkdir(parents=True, exist_ok=True)
            source, target = list("我爱中国"), ["I", "love", "China", "<end>"]
            heat_map(weights.tolist(), target, source, title="我爱中国").save(chosen.out / "attention.svg")
            draw_attention(weights.tolist(), source, target, 2).save(chosen.out / "china.svg")
    if chosen.out is not None:
        text = report(rows, len(learned), len(kept), chosen.updates)
        (chosen.out / "weights.md").write_text(text, encoding="utf-8")


def report(rows: list[tuple[int, list[list[float]]]], learned: int, new: int, updates: int) -> str:
    """Return the table of what was looked at, and in how many seeds it is what one would look at."""

    def looked(weights: list[float]) -> str:
        return " ".join(f"{c} {w:.2f}" for c, w in zip("我爱中国", weights, strict=True))

    most_i = sum(weights[0][0] == max(weights[0]) for _, weights in rows)
    most_china = sum(weights[2][2] + weights[2][3] > max(weights[2][:2]) for _, weights in rows)
    lines = [
        "# 我爱中国: what each word looks at",
        "",
        f"Made by `examples/i_love_china.py --updates {updates} --seeds {len(rows)}`: {learned} sentences learned,",
        f"{new} translated that were not, 我爱中国 among them. GRUs of 32 units, additive attention before the step.",
        "",
        "| seed | right of the new ones | I | love | China |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {seed} | {right} of {new} | {' | '.join(map(looked, weights[:3]))} |"
        for seed, (right, weights) in enumerate(rows)
    ]
    lines += [
        "",
        f'For "I", 我 weighs most in {most_i} of {len(rows)} seeds; for "China", 中 and 国 together in {most_china}.',
        "A state has read all characters up to its own, so that a weight may also stand on the one after.",
        "",
        "![The weights of seed 0](attention.svg)",
        "",
        "![The step that writes China](china.svg)",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
