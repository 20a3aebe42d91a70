"""The text of matrix products in the emitted C++: register tiles with the pointwise part in their epilogue.

A product's left sides that do not wait for the carried state can be multiplied ahead: for as many steps at once as a
chunk has, so that a small batch fills the tiles with steps where it has no rows. Whether that is done is decided at run
time, when the batch is known; the sums lie in a workspace until their step comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from recurra.compiler.access import Coordinates, linear, through_view
from recurra.compiler.emit_scope import Scope, Surroundings
from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import MOVES, Value, row_size
from recurra.compiler.lower import Buffer, Group
from recurra.compiler.varying import fixed

__all__ = ["AHEAD", "PORTS", "Tiles"]

AHEAD = 32
"""Steps in a chunk of products that are computed ahead."""

PORTS = 14
"""The word at which the ports begin."""

_NARROW = 16
"""Left sides of up to so many columns are never multiplied ahead: the workspace's traffic would cost more."""


class _Emitter(Surroundings, Protocol):
    """What a tile knows of the loop that it is in."""

    registers: int

    def port(self, buffer: Buffer) -> int:
        """Return the number of a buffer's port; -1 for scratch memory."""
        ...

    def known_ahead(self, buffer: Buffer) -> bool:
        """Tell whether a buffer is an input of every step, known before the loop begins."""
        ...

    def leaf(self, v: Value) -> Buffer | None:
        """Return the buffer that a value is handed over in."""
        ...

    def computed(self, scope: Scope, v: Value, m: str) -> str:
        """Return the text that computes and stores a value."""
        ...


@dataclass(frozen=True)
class _Term:
    """One left side, and the products (by their number) and right sides that it goes into."""

    buffer: Buffer
    offset: int
    row: str
    inner: int
    entries: tuple[tuple[int, Value], ...]


class Tiles:
    """Writes the tiles of one loop. panels: entries and ranges of each packed weight; packing: the text that packs
    them; ahead: the text that multiplies ahead, early: what it computes, room: numbers a row and step that this
    takes."""

    def __init__(self, emitter: _Emitter) -> None:
        self._e = emitter
        self.panels: list[tuple[int, int]] = []
        self.packing: list[str] = []
        self.ahead = ""
        self.early: list[Value] = []
        self.room = 0
        self.flops = 0
        self._blocks: set[int] = set()

    def shares(self) -> str:
        """Return the text that tells, before the loop, which blocks of a product are a thread's."""
        return "".join(
            f"  const long from{k} = share.from({k}), to{k} = share.to({k});\n" for k in sorted(self._blocks) if k > 1
        )

    def write(self, group: Group, products: list[Value]) -> str:
        """Return the text of one group with matrix products in it."""
        e = self._e
        folded, N = -group.shape[0], fixed(group.shape[1], "mm", products[0].where)
        count = len(products)
        wide = max(1, min(4 // count, -(-N // e.lanes)))
        width = wide * e.lanes
        most = max(1, min(8, (e.registers - 1) // (count * wide + 1)))
        blocks, line = -(-N // width), count * width
        self._blocks.add(blocks)
        self.flops += sum(2 * row_size(a.shape) * N for p in products for a in p.values[::2])
        early, late = self._terms(products, folded)
        seen: set[int] = set()

        def call(term: _Term) -> str:
            fresh = sum(1 << i for i, (k, _) in enumerate(term.entries) if k not in seen)
            seen.update(k for k, _ in term.entries)
            panel = self._panel(term, N, width)
            indices = ", ".join(str(k) for k, _ in term.entries)
            return (
                f"recurra::tiles<R, {wide}, {count}, {most}, {fresh}u, {indices}>(r, left, "
                f"P{panel} + block * {term.inner * len(term.entries) * width}, Q{panel} + 2 * block, z);\n"
            )

        def rows(term: _Term) -> str:
            inside = "" if folded == 1 else f" + (m0 + q) % {folded} * {term.buffer.shape[1]}"
            at = f"rows[(m0 + q) / {folded}] * {term.row}{inside} + {term.offset}"
            return f"for (int q = 0; q < r; q++) left[q] = {term.buffer.name} + {at};\n"

        now = [(term, call(term)) for term in early]
        calls = "".join(rows(term) + text for term, text in now)
        if early:
            place = self._place(blocks * line)
            copied = f"__builtin_memcpy(z + q * {line}, {place} + block * {line}, {line} * sizeof(R));"
            calls = f"if (ahead) {{ for (int q = 0; q < r; q++) {{ const long b = rows[m0 + q]; {copied} }} }} else {{\n{calls}}}\n"  # noqa: E501
            self._multiply_ahead(now, place, blocks, line, most)
            self.early += [products[k] for k in sorted({k for term in early for k, _ in term.entries})]
            self.room += blocks * line
        calls += "".join(rows(term) + call(term) for term in late)
        scope = Scope(e, group, {v: f"z + (q * {count} + {k}) * {width}" for k, v in enumerate(products)})
        body = self._epilogue(group, scope, N, wide)
        which = "b = rows[m0 + q]" if folded == 1 else f"b = rows[(m0 + q) / {folded}], j0 = (m0 + q) % {folded}"
        asleep = ""
        if group.condition is not None:
            idle = Scope(e, group, {}, asleep=True)
            asleep = self._asleep(group.condition, idle, self._epilogue(group, idle, N, wide))
        return (
            f"{_own_blocks(blocks)}"
            f"     const long pieces = (n * {folded} + {most - 1}) / {most};\n"
            f"     for (long piece = 0, m0 = 0; piece < pieces; piece++) {{\n"
            f"      const int r = n * {folded} / pieces + (piece < n * {folded} % pieces);\n"
            f"{asleep}      alignas(64) R z[{most * line}]; const R* left[{most}];\n{calls}"
            f"      for (int q = 0; q < r; q++) {{ const long {which};\n{scope.rows()}{body}      }}\n"
            "      m0 += r;\n     }\n    }\n    share.meet();\n"
        )

    def _asleep(self, condition: Value, scope: Scope, body: str) -> str:
        """Return the text that does what is left to do, and goes on, where all rows of a piece sleep."""
        home, at = self._e.lowered.home, 0
        if condition not in home:
            at, (condition,) = condition.attrs[1], condition.values
        truth = f"{home[condition].name}[rows[m0 + q] * {self._e.row(home[condition])} + {at}]"
        return (
            f"      bool awake = false; for (int q = 0; q < r; q++) awake |= {truth} != 0;\n"
            "      if (!awake) { for (int q = 0; q < r; q++) { const long b = rows[m0 + q];\n"
            f"{scope.rows()}{body} }}\n"
            "       m0 += r; continue; }\n"
        )

    def _terms(self, products: Sequence[Value], folded: int) -> tuple[list[_Term], list[_Term]]:
        """Return the terms that can be multiplied ahead, and the others. A product has at most one entry in a term."""
        found: dict[tuple[str, int, int], list[tuple[int, Value]]] = {}
        lefts: dict[tuple[str, int, int], tuple[Buffer, int, int]] = {}
        for k, p in enumerate(products):
            for a, w in zip(p.values[::2], p.values[1::2], strict=True):
                buffer, offset = self._left(a)
                again = 0
                while any(index == k for index, _ in found.get((buffer.name, offset, again), [])):
                    again += 1
                key = (buffer.name, offset, again)
                found.setdefault(key, []).append((k, w))
                lefts[key] = (buffer, offset, a.shape[1])
        early: list[_Term] = []
        late: list[_Term] = []
        for key, entries in found.items():
            buffer, offset, inner = lefts[key]
            waits = folded > 1 or not self._e.known_ahead(buffer) or inner <= _NARROW
            (late if waits else early).append(_Term(buffer, offset, self._e.row(buffer), inner, tuple(entries)))
        return early, late

    def _place(self, size: int) -> str:
        """Return the text of the address at which a row's sums lie, for the step of the loop."""
        return f"(ahead + {AHEAD} * B * {self.room} + (i % {AHEAD} * B + b) * {size})"

    def _multiply_ahead(self, terms: list[tuple[_Term, str]], place: str, blocks: int, line: int, most: int) -> None:
        calls = ""
        for term, text in terms:
            p = self._e.port(term.buffer)
            calls += (
                f"    for (int q = 0; q < r; q++) left[q] = (const R*)a[{_word(p)}] + (descend ? T - 1 - i - q : i + q)"
                f" * a[{_word(p) + 1}] + b * a[{_word(p) + 2}] + {term.offset};\n    {text}"
            )
        self.ahead += (
            f"  for (long block = share.from({blocks}); block < share.to({blocks}); block++)\n"
            f"   for (long i = low, r; i < high; i += r) {{ r = high - i < {most} ? high - i : {most};\n"
            f"    alignas(64) R z[{most * line}]; const R* left[{most}];\n{calls}"
            f"    for (int q = 0; q < r; q++, i++) __builtin_memcpy({place} + block * {line}, z + q * {line}, {line} * sizeof(R));\n"  # noqa: E501
            "    i -= r;\n   }\n"
        )

    def _epilogue(self, group: Group, scope: Scope, N: int, wide: int) -> str:
        lanes, rest = self._e.lanes, N % self._e.lanes

        def body(m: str) -> str:
            text = "".join(self._e.computed(scope, v, m) for v in group.values)
            scope.forget()
            return text

        full = "" if lanes > N else f"if (j1 + {lanes} <= {N}) {{ {body(str(lanes))} }}\n"
        if rest:
            full += ("else " if full else "") + f"if (j1 < {N}) {{ {body(str(rest))} }}\n"
        return f"       for (long u = 0; u < {wide}; u++) {{ const long j1 = block * {wide * lanes} + u * {lanes};\n{full}       }}\n"  # noqa: E501

    def _left(self, a: Value) -> tuple[Buffer, int]:
        """Return the buffer of a left side, and where it begins within the row."""
        offset = 0
        home = self._e.lowered.home
        if a not in home and a.op == "slice":
            offset = a.attrs[1]
            a = a.values[0]
        buffer = home.get(a)
        if buffer is None:
            raise Unsupported("mm", "its left side does not lie in memory", a.where)
        return buffer, offset

    def _panel(self, term: _Term, N: int, width: int) -> int:
        columns = [self._columns(w) for _, w in term.entries]
        number, K = len(self.panels), fixed(term.inner, "mm")
        blocks = -(-N // width)
        self.panels.append((blocks * K * len(columns) * width, 2 * blocks))
        listed = ", ".join(f"{{{p}, {o}, {k}, {u}}}" for p, o, k, u in columns)
        self.packing.append(
            f"  {{ const recurra::Columns from[] = {{{listed}}};"
            f" recurra::pack_ports<R>(a, {PORTS}, from, {K}, {N}, {width}, panels + {2 * number}); }}\n"
        )
        return number

    def _columns(self, w: Value) -> tuple[int, int, int, int]:
        """Return port, offset and strides of a right side, which must be a view of a constant."""
        at: Coordinates | None = ((0, (("k", 1),)), (0, (("u", 1),)))
        v = w
        while (buffer := self._e.leaf(v)) is None:
            if v.op == "stop":
                v = v.values[0]
                continue
            if v.op not in MOVES:
                raise Unsupported("mm", "its right side changes within the loop", w.where)
            at = through_view(v.op, v.attrs, v.values[0].shape, v.shape, at)
            v = v.values[0]
            if at is None:
                raise Unsupported("mm", "its right side is reshaped", w.where)
        if buffer.place != "constant":
            raise Unsupported("mm", "its right side changes with time or from row to row", w.where)
        where = linear(v.shape, at)
        factors = dict(where[1])
        return self._e.port(buffer), where[0], factors.get("k", 0), factors.get("u", 0)


def _word(port: int) -> int:
    return PORTS + 4 * port


def _own_blocks(blocks: int) -> str:
    """Return the head of a loop over the blocks that are a thread's share, from both ends in turn."""
    if blocks == 1:
        return "    if (share.last()) { const long block = 0;\n"
    return (
        f"    for (long lap = from{blocks}; lap < to{blocks}; lap++) {{\n"
        f"     const long block = i & 1 ? from{blocks} + to{blocks} - 1 - lap : lap;\n"
    )
