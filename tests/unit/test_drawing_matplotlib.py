"""Curves, heat maps and spectra on matplotlib's axes where it is installed; where not, an error that says how."""

from __future__ import annotations

import importlib.util

import pytest

from recurra.core.errors import MissingExtraError
from recurra.drawing import Band, plot_curves, plot_heat_map, plot_spectrum

INSTALLED = importlib.util.find_spec("matplotlib") is not None


@pytest.mark.skipif(not INSTALLED, reason="needs matplotlib")
def test_plots_hold_the_data() -> None:
    band = Band([(0, 2.0), (1, 1.0)], [(0, 1.5), (1, 0.5)], [(0, 2.5), (1, 1.5)])
    axes = plot_curves({"a": [(0, 3.0), (2, 1.0)], "b": band}, title="t", x_label="x", y_label="y")
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[0, 3], [2, 1]], [[0, 2], [1, 1]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert len(axes.collections) == 1
    assert plot_curves({"c": [(0, 1.0)]}, axes=axes) is axes
    image = plot_heat_map([[1.0, -2.0]], ["r"], ["c", "d"]).images[0]
    assert image.get_array().tolist() == [[1.0, -2.0]]
    assert image.get_clim() == (-2.0, 2.0)
    points = plot_spectrum([1 + 1j, 0.5]).collections[0]
    assert points.get_offsets().tolist() == [[1.0, 1.0], [0.5, 0.0]]


@pytest.mark.skipif(INSTALLED, reason="matplotlib is installed")
def test_without_matplotlib_the_extra_is_named() -> None:
    for make in (lambda: plot_curves({"a": [(0, 1.0)]}), lambda: plot_spectrum([1.0])):
        with pytest.raises(MissingExtraError, match=r"pip install 'recurra\[plot\]'"):
            make()
