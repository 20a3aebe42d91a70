"""`recurra diagnose MODEL DATA`: why a model does or does not learn what is far apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from recurra.cli.models import load_model
from recurra.cli.report import console, sparkline
from recurra.core.errors import ArgumentError
from recurra.drawing import Picture, curves_svg, heat_map
from recurra.learning import Diagnosis, diagnose
from recurra.tasks.contract import Observable

__all__ = ["diagnose_command", "diagnosis_pictures", "register"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("diagnose")(diagnose_command)


def diagnose_command(
    model: Annotated[Path, typer.Argument(help="the model folder")],
    data: Annotated[Path, typer.Argument(help="a file or folder to look at the model on")],
    out: Annotated[Path | None, typer.Option(help="a folder for the pictures, and diagnosis.json")] = None,
    steps: Annotated[int, typer.Option(help="steps to look at")] = 50,
    rows: Annotated[int, typer.Option(help="rows to look at")] = 4,
    png: Annotated[bool, typer.Option("--png", help="pictures as PNG (the extra png), else as SVG")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    cell: Annotated[str | None, typer.Option(help="FILE.py:Class, if the model was trained with your own cell")] = None,
) -> None:
    """Show what becomes of gradients, influence, gates and weights over time, and say what to try."""
    loaded = load_model(model, cell)
    if not isinstance(loaded, Observable):
        raise ArgumentError(
            f"expected a model that can show its data step by step, got one for {loaded.config.get('task', 'another')}"
            ": call recurra.diagnose(network, batch) in Python"
        )
    network, batch = loaded.observed([data], rows, steps)
    found = diagnose(network, batch)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "diagnosis.json").write_text(json.dumps(found.as_dict(), allow_nan=False, indent=1) + "\n", "utf-8")
        for name, picture in diagnosis_pictures(found).items():
            picture.save(out / f"{name}.{'png' if png else 'svg'}")
    if as_json:
        typer.echo(json.dumps(found.as_dict(), allow_nan=False))
        return
    _print(found)
    if out is not None:
        console.print(f"pictures and diagnosis.json are in {out}", soft_wrap=True)


def diagnosis_pictures(found: Diagnosis) -> dict[str, Picture]:
    """Return the pictures by name: gradients over time, the triangle of BPTT's terms, their decay, and influence."""
    layers = {f"layer {k + 1}": list(enumerate(map(float, norms), 1)) for k, norms in enumerate(found.gradient)}
    lags = [(float(k), r) for k, r in enumerate(found.ratios)]
    fit = [(float(k), found.gamma**k) for k in range(len(found.ratios))]
    largest = max(found.influence) or 1.0
    names = [str(t + 1) for t in range(len(found.triangle))]
    triangle = [[v if k <= t else float("nan") for k, v in enumerate(row)] for t, row in enumerate(found.triangle)]
    return {
        "gradient": _curves(layers, "Gradient of all later losses by the state", "step t", "norm"),
        "terms": heat_map(
            triangle, names, names, title="Terms of BPTT", row_label="loss at t", column_label="computed at k"
        ),
        "decay": _curves(
            {"terms": lags, f"{found.gamma:.3f}^(t-k)": fit}, "How fast the terms change", "t - k", "of the term at t"
        ),
        "influence": _curves(
            {"influence": [(float(k), v / largest) for k, v in enumerate(found.influence)]},
            "Influence of inputs on the last output", "steps back", "of the largest",
        ),
    }  # fmt: skip


def _curves(series: dict[str, Any], title: str, x_label: str, y_label: str) -> Picture:
    return Picture(curves_svg(series, title=title, x_label=x_label, y_label=y_label), 760, 440, title)


def _print(found: Diagnosis) -> None:
    for line in found.verdict:
        console.print(f"[bold]•[/] {line}", soft_wrap=True)
    table = Table(show_header=False, box=None)
    for k, norms in enumerate(found.gradient):
        table.add_row(f"gradient by the state, layer {k + 1}", f"{sparkline(norms)}  {norms[0]:.2g} … {norms[-1]:.2g}")
    table.add_row("γ: fitted to the terms, of the Jacobians", f"{found.gamma:.4f}, {found.gamma_of_products:.4f}")
    table.add_row("leading Lyapunov exponent", f"{found.lyapunov:.4f}")
    memory = f"{found.memory} steps" if found.memory is not None else "longer than this sequence"
    table.add_row("memory: influence below 1 %", memory)
    for name, blocks in found.spectra.items():
        for k, b in enumerate(blocks):
            values = f"radius {b['radius']:.3f}, singular values {b['smallest']:.3f} … {b['largest']:.3f}"
            table.add_row(f"{name}, block {k + 1}", values)
    for name, share in found.saturation.items():
        table.add_row(f"at its ends: {name}", f"{100 * share:.1f} %")
    table.add_row("dead state", f"{100 * found.dead:.1f} %")
    for name, ratio in found.updates.items():
        table.add_row(f"update to weight: {name}", f"{ratio:.2g}")
    console.print(table)
