"""Pass 7, emit: C++ for one loop. Sizes and dtype are fixed in it; the batch, the number of steps and all strides
are not.

The emitted function runs some rows of the batch through all time steps, so that threads never wait for one another. It
is called with one address, of 64-bit words:

    T, B, descend                   steps, rows, and whether time runs backwards
    threads, first, rows            threads, where each one's rows begin, and the rows
    counts, lengths                 how many rows of each thread run at each step (they are in order of length), and
                                    how many steps each row has; both null where all have T
    scratch, ahead                  memory for values between groups, and for products computed ahead (null: none are)
    pack                            whether to pack the weights first
    S                               the context's length, where that varies from call to call
    waits, tells                    in a wave (`runtime/share.h`): where the loop below says how many steps it has made,
                                    and where this one says it; null outside of one
    ports: 4 words each             pointer, stride in time, from row to row, and a mask for the slot of time (-1, or 1
                                    for two slots used in turn)
    what is carried: 2 words each   what it begins with (null: zeros), and where its end goes (null: nowhere)
    panels: 2 words each            packed weights and their ranges
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recurra.compiler.access import coordinates_of
from recurra.compiler.emit_scope import TYPES, Scope, counted, loops, nested
from recurra.compiler.emit_tiles import AHEAD, PORTS, Tiles
from recurra.compiler.headers import RUNTIME
from recurra.compiler.ir import Graph, Value, row_size
from recurra.compiler.lower import Buffer, Group, Lowered, lower
from recurra.compiler.plan import LoopPlan
from recurra.compiler.varying import spelled

__all__ = ["Emitted", "Port", "Target", "emit", "preamble"]


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
    """The text of one loop and what its caller has to hand it.

    carried: the number of the first port of what is carried, which are the last but for the results; panels: entries
    and ranges of each packed weight; scratch: numbers a row; early: products that small batches compute ahead; ahead:
    numbers a row that this takes.
    """

    code: str
    ports: list[Port]
    carried: range
    panels: list[tuple[int, int]]
    scratch: int
    early: list[Value]
    ahead: int
    flops: int


def preamble(real: str, target: Target) -> str:
    """Return the text that stands before all loops over numbers of the C++ type `real`."""
    return (
        f'#define RECURRA_VECTOR_BYTES {target.vector_bytes}\n#include "{RUNTIME}"\n'
        f"typedef {real} R;\ntypedef recurra::Lanes<R> L;\ntypedef L::V V;\n"
        'extern "C" void wave(const int64_t* words) { recurra::wave(words); }\n'
    )


def emit(graph: Graph, loop: LoopPlan, name: str, real_bytes: int, target: Target, results: Sequence[Value]) -> Emitted:
    """Emit one loop. results: the values of `loop.results` that are to be written (inference leaves some out)."""
    return _Emitter(graph, loop, name, real_bytes, target, results).run()


class _Emitter:
    def __init__(
        self, graph: Graph, loop: LoopPlan, name: str, real_bytes: int, target: Target, results: Sequence[Value]
    ) -> None:
        self._name = name
        self.lanes = max(1, target.vector_bytes // real_bytes)
        self.registers = target.registers
        self._ports: list[Port] = []
        self._buffers: list[tuple[Buffer, int, str]] = []
        inputs: dict[Value, Buffer] = {}
        for k, v in enumerate(loop.constant):
            inputs[v] = self._buffer(f"c{k}", v, self._port(f"constant.{k}", v), "0", "constant")
        for k, v in enumerate(loop.per_call):
            inputs[v] = self._buffer(f"k{k}", v, self._port(f"call.{k}", v), "0")
        for k, v in enumerate(loop.per_step):
            inputs[v] = self._buffer(f"s{k}", v, self._port(f"step.{k}", v), "t")
        self._steps = [inputs[v] for v in loop.per_step]
        outputs: list[tuple[Value, Buffer]] = []
        self._carried: list[Buffer] = []
        for k, v in enumerate(loop.before):
            port = self._port(f"state.{k}", v)
            inputs[v] = self._buffer(f"h{k}", v, port, "after")
            if k in loop.after:
                inputs[loop.after[k]] = self._buffer(f"n{k}", v, port, "before")
        for k, c in enumerate([*loop.carried, *loop.histories]):
            port = self._port(f"carried.{k}", c.before)
            inputs[c.before] = self._buffer(f"i{k}", c.before, port, "before")
            self._carried.append(inputs[c.before])
            outputs.append((c.after, self._buffer(f"o{k}", c.before, port, "after")))
        for k, v in enumerate(dict.fromkeys(loop.results)):
            if v in results:
                outputs.append((v, self._buffer(f"r{k}", v, self._port(f"result.{k}", v), "t")))
        self._inputs = inputs
        self.lowered: Lowered = lower(graph, outputs, inputs, loop.saved)
        self._tiles = Tiles(self)

    def run(self) -> Emitted:
        """Return the whole text."""
        body = "".join(self._group(g) for g in self.lowered.groups)
        scratch, offset = "", 0
        for b in self.lowered.scratch:
            words = -(-row_size(b.shape) * (2 if b.kind == "int" else 1) // 16) * 16
            scratch += f"  {TYPES[b.kind]}* {b.name} = ({TYPES[b.kind]}*)((R*)a[8] + {offset} * B);\n"
            offset += words
        ports = range(len(self._ports))
        pointers = "".join(self._pointer(b, p, when) for b, p, when in self._buffers)
        strides = "".join(f"  const long S{p} = a[{PORTS + 4 * p + 2}];\n" for p in ports)
        common = (
            "  const long T = a[0], B = a[1], descend = a[2], S = a[11];\n"
            "  const int64_t *lengths = (const int64_t*)a[7], *waits = (const int64_t*)a[12];\n"
            "  int64_t* tells = (int64_t*)a[13]; R* ahead = (R*)a[9];\n" + self._panels()
        )
        early, call = self._ahead(common)
        code = (
            f"{early}static RECURRA_ONCE void {self._name}_rows(const int64_t* a, const int64_t* rows, long count, "
            "const int64_t* counts, recurra::Share share) {\n"
            f"{common}{strides}{scratch}{self._tiles.shares()}{self._ends('begin')}  share.meet();\n"
            f"  for (long i = 0; i < T; i++) {{\n{self._wait()}{call}"
            "    const long t = descend ? T - 1 - i : i, before = t + descend, after = t + 1 - descend;\n"
            f"    const long n = counts ? counts[t] : count;\n{pointers}{body}"
            f"    if (tells) recurra::tell(tells, i + 1);\n  }}\n{self._ends('end')}}}\n"
            f"static void {self._name}_pack(const int64_t* a) {{\n  const int panels = {self._first_panel()};\n"
            f"{''.join(self._tiles.packing)}}}\n"
            f'extern "C" void {self._name}(const int64_t* a) {{\n'
            "  const int64_t *first = (const int64_t*)a[4], *rows = (const int64_t*)a[5], *counts = (const int64_t*)a[6];\n"  # noqa: E501
            "  const long threads = a[3];\n"
            f"  if (a[10]) {self._name}_pack(a);\n"
            f"  if (threads == 1) return {self._name}_rows(a, rows, first[1], counts, {{0, 1, nullptr}});\n"
            "  if (threads < 0) {\n"
            "    int64_t arrived = 0;\n"
            "    #pragma omp parallel num_threads(-threads)\n"
            f"    {self._name}_rows(a, rows, first[1], counts, "
            "{omp_get_thread_num(), omp_get_num_threads(), &arrived});\n"
            "    return;\n"
            "  }\n"
            "  #pragma omp parallel for num_threads(threads) schedule(static, 1)\n"
            "  for (long k = 0; k < threads; k++)\n"
            f"    {self._name}_rows(a, rows + first[k], first[k + 1] - first[k], counts ? counts + k * a[0] : nullptr, "
            "{0, 1, nullptr});\n"
            "}\n"
        )
        first = self.port(self._carried[0]) if self._carried else len(ports)
        carried = range(first, first + len(self._carried))
        tiles = self._tiles
        return Emitted(
            spelled(code), self._ports, carried, tiles.panels, offset, tiles.early, AHEAD * tiles.room, tiles.flops
        )

    def _wait(self) -> str:
        """Return the text that waits for the step's input, or for that of all steps whose products come next."""
        whole = f"i + {AHEAD} < T ? i + {AHEAD} : T"
        steps = f"!ahead ? i + 1 : i % {AHEAD} ? 0 : {whole}" if self._tiles.ahead else "i + 1"
        return f"    if (waits) recurra::await(waits, {steps});\n"

    def _pointer(self, b: Buffer, p: int, when: str) -> str:
        kind, word = TYPES[b.kind], PORTS + 4 * p
        if b.place == "constant":
            return f"    const {kind}* {b.name} = (const {kind}*)a[{word}];\n"
        return f"    {kind}* {b.name} = ({kind}*)a[{word}] + ({when} & a[{word + 3}]) * a[{word + 1}];\n"

    def _panels(self) -> str:
        first = self._first_panel()
        return "".join(
            f"  const R* P{k} = (const R*)a[{first + 2 * k}]; const int64_t* Q{k} = (const int64_t*)a[{first + 2 * k + 1}];\n"  # noqa: E501
            for k in range(len(self._tiles.panels))
        )

    def _first_panel(self) -> int:
        return PORTS + 4 * len(self._ports) + 2 * len(self._carried)

    def _ahead(self, common: str) -> tuple[str, str]:
        """Return the function that multiplies a chunk of steps ahead for one row, and its call."""
        if not self._tiles.ahead:
            return "", ""
        text = (
            f"static void {self._name}_ahead(const int64_t* a, const long b, const long from, "
            f"const recurra::Share& share) {{\n{common}"
            "  const long steps = lengths ? lengths[b] : T, least = descend ? T - steps : 0, most = descend ? T : steps;\n"  # noqa: E501
            f"  const long low = from < least ? least : from, high = from + {AHEAD} < most ? from + {AHEAD} : most;\n"
            f"{self._tiles.ahead}}}\n"
        )
        return (
            text,
            f"    if (ahead && i % {AHEAD} == 0)\n"
            f"      for (long m = 0; m < count; m++) {self._name}_ahead(a, rows[m], i, share);\n",
        )

    def _ends(self, which: str) -> str:
        """Return the text that brings what is carried to where it begins, or takes away what it ends with."""
        text, first = "", PORTS + 4 * len(self._ports)
        for k, b in enumerate(self._carried):
            kind, word = TYPES[b.kind], PORTS + 4 * self.port(b)
            slots = f"{{a[{word + 1}], a[{word + 2}], a[{word + 3}], T, descend, lengths}}"
            other = first + 2 * k + (which == "end")
            text += (
                f"  if (share.first())\n    recurra::{which}(({kind}*)a[{word}], recurra::Slots{slots}, "
                f"({kind}*)a[{other}], {row_size(b.shape)}, rows, count);\n"
            )
        return text

    def port(self, buffer: Buffer) -> int:
        """Return the number of a buffer's port; -1 for scratch memory."""
        return next((p for b, p, _ in self._buffers if b is buffer), -1)

    def known_ahead(self, buffer: Buffer) -> bool:
        """Tell whether a buffer is an input of every step, known before the loop begins."""
        return any(buffer is b for b in self._steps)

    def leaf(self, v: Value) -> Buffer | None:
        """Return the buffer that a value is handed over in."""
        return self._inputs.get(v)

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
        return self._tiles.write(group, products) if products else self._nest(group)

    def _nest(self, group: Group) -> str:
        scope = Scope(self, group, {})
        dims = loops(group.shape)
        inner = scope.vectorised(dims, lambda m: "".join(self.computed(scope, v, m) for v in group.values))
        return _by_first(f"for (long m = 0; m < n; m++) {{ const long b = rows[m];\n{scope.rows()}{inner}    }}\n")

    def computed(self, scope: Scope, v: Value, m: str) -> str:
        """Return the text that computes and stores a value."""
        at = coordinates_of(v.shape)
        name, text = scope.value(v, at, m, top=True)
        return text + "".join(scope.store(s, v, at, name, m) for s in self.lowered.stores.get(v, []))

    def _reduction(self, group: Group) -> str:
        scope = Scope(self, group, {})
        reduced = group.values[0].attrs[0]
        dims = loops(group.shape)
        inner_dim = dims[-1][0] if dims else -1
        add = group.values[0].op == "sum"
        neutral = "R(0)" if add else "-R(__builtin_inf())"
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
                kept_lanes = counted("keep", m, f"{name}, {neutral}") if across else name
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
        return _by_first(f"for (long m = 0; m < n; m++) {{ const long b = rows[m];\n{scope.rows()}{inner}    }}\n")


def _by_first(text: str) -> str:
    """Return the text of what one thread does for all that share rows."""
    return f"    if (share.first()) {text}    share.meet();\n"
