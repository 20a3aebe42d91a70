"""onnxruntime's LSTM, GRU and RNN, from models of one node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from kernel_contestants.workload import Contestant, Workload

__all__ = ["in_onnx"]

_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where ONNX's gates (i o f c; z r h) lie among torch's (i f g o; r z n)."""


def in_onnx(work: Workload) -> Contestant:
    """Inference only; NumPy arrays in and out, as `InferenceSession.run` has them."""
    B, T, inputs, H = work.shape
    w_ih, w_hh, b_ih, b_hh = (_gates(w.detach().numpy(), work.cell) for w in work.weights)
    tensors = {"W": w_ih[None], "R": w_hh[None], "B": np.concatenate([b_ih, b_hh])[None]}
    options: dict[str, Any] = {"linear_before_reset": 1} if work.cell == "GRU" else {}
    graph = helper.make_graph(
        [helper.make_node(work.cell, ["x", "W", "R", "B"], ["y"], hidden_size=H, **options)],
        work.cell,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [T, B, inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [T, 1, B, H])],
        [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in tensors.items()],
    )
    # Both versions are older than this package's newest: any onnxruntime of the last years reads them.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = work.threads
    settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    feed = {"x": work.x.detach().numpy()}
    return Contestant("onnxruntime", lambda: session.run(["y"], feed)[0][:, 0])


def _gates(w: np.ndarray[Any, Any], cell: str) -> np.ndarray[Any, Any]:
    parts = np.split(w, len(_ORDER[cell]))
    return np.concatenate([parts[k] for k in _ORDER[cell]])
