"""JAX: `lax.scan` under `jit`, the input's projection before the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax import lax

from kernel_contestants.workload import GATES, Contestant, Workload

__all__ = ["in_jax"]

# A call then returns when its result is there, as every other contestant's does, and without a change of threads.
jax.config.update("jax_cpu_enable_async_dispatch", False)


def in_jax(work: Workload) -> Contestant:
    """Forward, and forward with `jax.vjp`, each one jitted function; float32."""
    B, _, _, H = work.shape
    x, d_y, *weights = (jnp.asarray(v.detach().numpy()) for v in (work.x, work.d_y, *work.weights))
    step, states = _STEPS[work.cell], 2 if work.cell == "LSTM" else 1

    def run(x: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Any:
        first = (jnp.zeros((B, H), x.dtype),) * states
        return lax.scan(lambda s, p: step(s, p, w_hh.T, b_hh), first, x @ w_ih.T + b_ih)[1]

    forward = jax.jit(run)
    backward = jax.jit(lambda d_y, *given: jax.vjp(run, *given)[1](d_y))

    def train() -> list[torch.Tensor]:
        return [torch.from_dlpack(g) for g in jax.block_until_ready(backward(d_y, x, *weights))]

    return Contestant("JAX", lambda: jax.block_until_ready(forward(x, *weights)), train)


def _lstm(state: Any, projection: Any, w: Any, b: Any) -> Any:
    h, c = state
    i, f, g, o = jnp.split(projection + h @ w + b, GATES["LSTM"], -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def _gru(state: Any, projection: Any, w: Any, b: Any) -> Any:
    (h,) = state
    xr, xz, xn = jnp.split(projection, GATES["GRU"], -1)
    hr, hz, hn = jnp.split(h @ w + b, GATES["GRU"], -1)
    z = jax.nn.sigmoid(xz + hz)
    h = z * h + (1 - z) * jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn)
    return (h,), h


def _elman(state: Any, projection: Any, w: Any, b: Any) -> Any:
    h = jnp.tanh(projection + state[0] @ w + b)
    return (h,), h


_STEPS: dict[str, Callable[..., Any]] = {"LSTM": _lstm, "GRU": _gru, "RNN": _elman}
