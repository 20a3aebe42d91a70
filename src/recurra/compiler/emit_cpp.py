"""Pass 7, emit: C++ for one loop. Sizes and dtype are fixed in it; the batch, the number of steps and all strides
are not.

The emitted function runs some rows of the batch through all time steps, so that threads never wait for one another:

    run(a, T, rows, counts, descend, B)

a: for each port its pointer, its stride in time, its stride from row to row, and a mask for its time slot (-1, or 1
for two slots used in turn); rows: the rows of this thread; counts: how many of them run at each step (they are in
order of length), or null; descend: run time backwards.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from recurra.compiler.access import Coordinates, coordinates_of, linear, through_view
from recurra.compiler.emit_scope import TYPES, Scope, loops, nested
from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import MOVES, Graph, Value, row_size
from recurra.compiler.lower import Buffer, Group, Lowered, lower
from recurra.compiler.plan import LoopPlan

__all__ = ["Emitted", "Port", "Target", "emit"]


@dataclass(frozen=True)
class Target:
    """The machine: bytes of a vector and the number of vector registers."""

    vector_bytes: int
    registers: int


@dataclass(frozen=True)
class Port:
    """One pointer of the emitted function: its name, and the shape (with rows) and kind of what it points to."""

    name: str
    shape: tuple[int, ...]
    kind: str


@dataclass
class Emitted:
    """The text of one loop and what its caller has to hand it. panels: entries and ranges of each packed weight."""

    code: str
    ports: list[Port]
    panels: list[tuple[int, int]]
    scratch: int
    flops: int
    products: list[str] = field(default_factory=list[str])


def emit(graph: Graph, loop: LoopPlan, name: str, real_bytes: int, target: Target, results: Sequence[Value]) -> Emitted:
    """Emit one loop. results: the values of `loop.results` that are to be written (inference leaves some out)."""
    return _Emitter(graph, loop, name, real_bytes, target, results).run()


class _Emitter:
    def __init__(
        self, graph: Graph, loop: LoopPlan, name: str, real_bytes: int, target: Target, results: Sequence[Value]
    ) -> None:
        self._name = name
        self.lanes = max(1, target.vector_bytes // real_bytes)
        self._registers = target.registers
        self._ports: list[Port] = []
        self._buffers: list[tuple[Buffer, int, str]] = []
        inputs: dict[Value, Buffer] = {}
        for k, v in enumerate(loop.constant):
            inputs[v] = self._buffer(f"c{k}", v, self._port(f"constant.{k}", v), "0", "constant")
        for k, v in enumerate(loop.per_call):
            inputs[v] = self._buffer(f"k{k}", v, self._port(f"call.{k}", v), "0")
        for k, v in enumerate(loop.per_step):
            inputs[v] = self._buffer(f"s{k}", v, self._port(f"step.{k}", v), "t")
        outputs: list[tuple[Value, Buffer]] = []
        for k, v in enumerate(loop.before):
            port = self._port(f"state.{k}", v)
            inputs[v] = self._buffer(f"h{k}", v, port, "after")
            if k in loop.after:
                inputs[loop.after[k]] = self._buffer(f"n{k}", v, port, "before")
        for k, c in enumerate([*loop.carried, *loop.histories]):
            port = self._port(f"carried.{k}", c.before)
            inputs[c.before] = self._buffer(f"i{k}", c.before, port, "before")
            outputs.append((c.after, self._buffer(f"o{k}", c.before, port, "after")))
        for k, v in enumerate(loop.results):
            if any(v is r for r in results):
                outputs.append((v, self._buffer(f"r{k}", v, self._port(f"result.{k}", v), "t")))
        self._inputs = inputs
        self.lowered: Lowered = lower(graph, outputs, inputs)
        self._workspace = len(self._ports)
        self._panels: list[tuple[int, int]] = []
        self._packing: list[str] = []
        self._flops = 0
        self._lines: list[str] = []
        self._fresh = 0

    def run(self) -> Emitted:
        """Return the whole text."""
        body = "".join(self._group(g) for g in self.lowered.groups)
        ports, n = self._ports, len(self._ports) + 1
        scratch, offset = [], 0
        for b in self.lowered.scratch:
            size = row_size(b.shape) * (8 if b.kind == "int" else 4) // 4
            scratch.append(
                f"  {TYPES[b.kind]}* {b.name} = ({TYPES[b.kind]}*)((R*)a[{self._workspace}] + {offset} * B);\n"
            )
            offset += size * 2 if b.kind == "int" else size
        panels = "".join(
            f"  const R* P{k} = (const R*)a[{4 * n + 2 * k}]; const int64_t* Q{k} = (const int64_t*)a[{4 * n + 2 * k + 1}];\n"  # noqa: E501
            for k in range(len(self._panels))
        )
        pointers = "".join(
            f"    {TYPES[b.kind]}* {b.name} = ({TYPES[b.kind]}*)a[{p}] + ({when} & a[{3 * n + p}]) * a[{n + p}];\n"
            if b.place != "constant"
            else f"    const {TYPES[b.kind]}* {b.name} = (const {TYPES[b.kind]}*)a[{p}];\n"
            for b, p, when in self._buffers
        )
        strides = "".join(f"  const long S{p} = a[{2 * n + p}];\n" for p in range(len(ports)))
        packing = "".join(self._packing)
        code = (
            f"static void {self._name}_rows(const int64_t* a, long T, long count, const int64_t* rows, const int64_t* counts,"  # noqa: E501
            f" long descend, long B) {{\n{strides}{''.join(scratch)}{panels}"
            "  for (long i = 0; i < T; i++) {\n"
            "    const long t = descend ? T - 1 - i : i, before = t + descend, after = t + 1 - descend;\n"
            f"    const long n = counts ? counts[t] : count;\n{pointers}{body}  }}\n}}\n"
            f'extern "C" void {self._name}(const int64_t* a, long T, const int64_t* first, const int64_t* rows,'
            " const int64_t* counts, long descend, long B, long threads) {\n"
            "  if (threads == 1) return "
            f"{self._name}_rows(a, T, first[1], rows, counts, descend, B);\n"
            "  #pragma omp parallel for num_threads(threads) schedule(static, 1)\n"
            "  for (long k = 0; k < threads; k++)\n"
            f"    {self._name}_rows(a, T, first[k + 1] - first[k], rows + first[k], counts ? counts + k * T : nullptr,"
            " descend, B);\n}\n"
            f'extern "C" void {self._name}_pack(const void* const* p, int which, R* to, int64_t* range) {{\n{packing}}}\n'  # noqa: E501
        )
        return Emitted(code, ports, self._panels, offset, self._flops)

    def _port(self, name: str, v: Value) -> int:
        self._ports.append(Port(name, v.shape, v.kind))
        return len(self._ports) - 1

    def _buffer(self, name: str, v: Value, port: int, when: str, place: str = "row") -> Buffer:
        buffer = Buffer(name, v.shape, v.kind, place)
        self._buffers.append((buffer, port, when))
        return buffer

    def row(self, buffer: Buffer) -> str:
        """Return the distance from row to row."""
        for b, port, _ in self._buffers:
            if b is buffer:
                return f"S{port}"
        return str(row_size(buffer.shape))

    def _group(self, group: Group) -> str:
        if group.kind == "reduce":
            return self._reduction(group)
        products = [v for v in group.values if v.op == "mm"]
        return self._tile(group, products) if products else self._nest(group)

    # Loops over rows and shapes.

    def _nest(self, group: Group) -> str:
        scope = Scope(self, group, {})
        dims = loops(group.shape)
        inner = scope.vectorised(dims, lambda m: "".join(self._computed(scope, v, m) for v in group.values))
        return f"    for (long m = 0; m < n; m++) {{ const long b = rows[m];\n{scope.rows()}{inner}    }}\n"

    def _computed(self, scope: Scope, v: Value, m: str) -> str:
        at = coordinates_of(v.shape)
        name, text = scope.value(v, at, m, top=True)
        return text + "".join(scope.store(s, v, at, name, m) for s in self.lowered.stores.get(v, []))

    def _reduction(self, group: Group) -> str:
        scope = Scope(self, group, {})
        reduced = group.values[0].attrs[0]
        dims = loops(group.shape)
        inner_dim = dims[-1][0] if dims else -1
        add = group.values[0].op == "sum"
        neutral = "R(0)" if add else "R(-INFINITY)"
        combine = "{0} = {0} + {1};" if add else "{0} = L::maximum({0}, {1});"
        kept = [d for d in dims if d[0] not in reduced]
        inside = [d for d in dims if d[0] in reduced]
        across = inner_dim in reduced
        start = "".join(f"V a{k} = L::one({neutral});\n" for k in range(len(group.values)))

        def step(m: str) -> str:
            text = ""
            for k, v in enumerate(group.values):
                operand = v.values[0]
                name, lines = scope.value(operand, coordinates_of(operand.shape), m)
                kept_lanes = f"L::template keep<{m}>({name}, {neutral})" if across else name
                text += lines + combine.format(f"a{k}", kept_lanes) + "\n"
            scope.forget()
            return "{" + text + "}"

        def finish(m: str) -> str:
            text = ""
            for k, v in enumerate(group.values):
                if across:
                    text += f"a{k} = L::one(L::{'total' if add else 'largest'}(a{k}));\n"
                at = coordinates_of(v.shape)
                text += "".join(scope.store(s, v, at, f"a{k}", "1" if across else m) for s in self.lowered.stores[v])
            return text

        if across or not dims:
            core = "{" + start + scope.vectorised(inside, step) + finish("1") + "}\n"
            inner = nested(kept, core)
        else:
            inner = nested(
                kept[:-1],
                scope.vectorised([kept[-1]], lambda m: "{" + start + nested(inside, step(m)) + finish(m) + "}\n"),
            )
        return f"    for (long m = 0; m < n; m++) {{ const long b = rows[m];\n{scope.rows()}{inner}    }}\n"

    # Tiles of matrix products.

    def _tile(self, group: Group, products: list[Value]) -> str:
        folded, N = -group.shape[0], group.shape[1]
        count = len(products)
        lanes = self.lanes
        wide = max(1, min(4 // count, -(-N // lanes)))
        width = wide * lanes
        vectors = count * wide
        most = max(1, min(8, (self._registers - 1) // (vectors + 1)))
        self._flops += sum(2 * row_size(a.shape) * N for p in products for a in p.values[::2])
        terms: dict[tuple[str, int], list[tuple[int, Value]]] = {}
        for k, p in enumerate(products):
            for a, w in zip(p.values[::2], p.values[1::2], strict=True):
                pointer, offset, _ = self._left(a)
                extra = 0
                while any(index == k for index, _ in terms.get((pointer, offset + extra), [])):
                    extra -= 1 << 40
                terms.setdefault((pointer, offset + extra), []).append((k, w))
        sources = {self._left(a)[:2]: a for p in products for a in p.values[::2]}
        seen: set[int] = set()
        calls = ""
        for (pointer, offset), entries in terms.items():
            while offset < -(1 << 39):
                offset += 1 << 40
            a = sources[(pointer, offset)]
            K = a.shape[1]
            panel = self._panel(entries, K, N, width)
            fresh = sum(1 << i for i, (k, _) in enumerate(entries) if k not in seen)
            seen |= {k for k, _ in entries}
            indices = ", ".join(str(k) for k, _ in entries)
            row = self._left(a)[2] if folded == 1 else str(K)
            calls += (
                f"      for (int q = 0; q < r; q++) left[q] = {pointer} + {self._folded('m0 + q', folded)} * {row} + {offset};\n"  # noqa: E501
                f"      tiles<R, {lanes}, {wide}, {count}, {most}, {fresh}u, {indices}>(r, left, "
                f"P{panel} + block * {K * len(entries) * width}, Q{panel}[2 * block], Q{panel}[2 * block + 1], z);\n"
            )
        scope = Scope(self, group, {v: f"z + (q * {count} + {k}) * {width}" for k, v in enumerate(products)})
        body = self._epilogue(group, scope, N, wide, folded)
        if folded > 1 and re.search(r"\bj0\b", body):
            raise Unsupported("matmul", "the rows of a product with a matrix of each row are used in another order")
        return (
            f"    for (long block = 0; block < {-(-N // width)}; block++) {{ const long pieces = (n * {folded} + {most - 1}) / {most};\n"  # noqa: E501
            f"     for (long piece = 0, m0 = 0; piece < pieces; piece++) {{\n"
            f"      const int r = n * {folded} / pieces + (piece < n * {folded} % pieces);\n"
            f"      alignas(64) R z[{most * count * width}]; const R* left[{most}];\n{calls}"
            f"      for (int q = 0; q < r; q++) {{ const long b = {self._folded('m0 + q', folded)};\n{scope.rows()}{body}      }}\n"  # noqa: E501
            "      m0 += r;\n     }\n    }\n"
        )

    def _epilogue(self, group: Group, scope: Scope, N: int, wide: int, folded: int) -> str:
        lanes, rest = self.lanes, N % self.lanes

        def body(m: str) -> str:
            text = "".join(self._computed(scope, v, m) for v in group.values)
            scope.forget()
            return text

        full = "" if lanes > N else f"if (j1 + {lanes} <= {N}) {{ constexpr int K = {lanes}; {body(str(lanes))} }}\n"
        if rest:
            full += ("else " if full else "") + f"if (j1 < {N}) {{ {body(str(rest))} }}\n"
        return (
            f"       for (long u = 0; u < {wide}; u++) {{ const long j1 = block * {wide * lanes} + u * {lanes};\n{full}       }}\n"  # noqa: E501
        ).replace(f"constexpr int K = {lanes}; ", "")

    @staticmethod
    def _folded(index: str, folded: int) -> str:
        if folded == 1:
            return f"rows[{index}]"
        return f"(rows[({index}) / {folded}] * {folded} + ({index}) % {folded})"

    def _left(self, a: Value) -> tuple[str, int, str]:
        """Return the buffer, the offset within the row and the row stride of a left side."""
        offset = 0
        if a not in self.lowered.home and a.op == "slice":
            offset = a.attrs[1]
            a = a.values[0]
        buffer = self.lowered.home.get(a)
        if buffer is None:
            raise Unsupported("mm", "its left side does not lie in memory", a.where)
        return buffer.name, offset, self.row(buffer)

    def _panel(self, entries: Sequence[tuple[int, Value]], K: int, N: int, width: int) -> int:
        columns = [self._columns(w) for _, w in entries]
        number = len(self._panels)
        blocks = -(-N // width)
        self._panels.append((blocks * K * len(entries) * width, 2 * blocks))
        listed = ", ".join(f"{{{p}, {o}, {k}, {u}}}" for p, o, k, u in columns)
        self._packing.append(
            f"  if (which == {number}) {{ const Columns from[] = {{{listed}}};"
            f" pack<R>(p, from, {len(entries)}, {K}, {N}, {width}, to, range); }}\n"
        )
        return number

    def _columns(self, w: Value) -> tuple[int, int, int, int]:
        """Return port, offset and strides of a right side, which must be a view of a constant."""
        at: Coordinates | None = ((0, (("k", 1),)), (0, (("u", 1),)))
        v = w
        while v not in self._inputs:
            if v.op == "stop":
                v = v.values[0]
                continue
            if v.op not in MOVES:
                raise Unsupported("mm", "its right side changes within the loop", w.where)
            at = through_view(v.op, v.attrs, v.values[0].shape, v.shape, at)
            v = v.values[0]
            if at is None:
                raise Unsupported("mm", "its right side is reshaped", w.where)
        buffer = self._inputs[v]
        port = next(p for b, p, _ in self._buffers if b is buffer)
        if buffer.place != "constant":
            raise Unsupported("mm", "its right side changes with time or from row to row", w.where)
        where = linear(v.shape, at)
        factors = dict(where[1])
        return port, where[0], factors.get("k", 0), factors.get("u", 0)
