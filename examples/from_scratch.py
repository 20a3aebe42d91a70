"""A recurrent network from scratch: Elman's layer, softmax and backpropagation through time, in NumPy alone.

    h_t = tanh(U x_t + W h_{t-1} + b),  o_t = V h_t + c,  p_t = softmax(o_t),  L = mean over t of -log p_t[target_t]

To be read beside `recurra/cells/elman.py` (U, W and b are its weight_ih, weight_hh and bias_ih),
`recurra/scan/reference.py` (the loop over time) and `recurra/heads/softmax.py`. Run it: it compares every gradient with
differences of the loss, then learns to spell a word, one character after another.
"""

from __future__ import annotations

import numpy as np

__all__ = ["check_gradients", "initialise", "loss_and_gradients", "main", "run"]

Weights = dict[str, np.ndarray]


def initialise(inputs: int, hidden: int, outputs: int, seed: int = 0) -> Weights:
    """Draw U, W, b, V, c from U(-k, k) with k = 1 / sqrt(hidden)."""
    draw, k = np.random.default_rng(seed), hidden**-0.5
    shapes = {"U": (hidden, inputs), "W": (hidden, hidden), "b": (hidden,), "V": (outputs, hidden), "c": (outputs,)}
    return {name: draw.uniform(-k, k, shape) for name, shape in shapes.items()}


def run(weights: Weights, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores o `(T, outputs)` of inputs x `(T, inputs)`, and the states `(T + 1, hidden)` from h on."""
    states = [h]
    for x_t in x:
        states.append(np.tanh(weights["U"] @ x_t + weights["W"] @ states[-1] + weights["b"]))
    h_all = np.stack(states)
    return h_all[1:] @ weights["V"].T + weights["c"], h_all


def loss_and_gradients(
    weights: Weights, x: np.ndarray, targets: np.ndarray, h: np.ndarray
) -> tuple[float, np.ndarray, Weights]:
    """Return the mean loss in nats, the scores, and the loss's gradient by every weight and by the first state `h`."""
    scores, states = run(weights, x, h)
    steps = np.arange(len(x))
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    loss = -np.log(p[steps, targets]).mean()

    d_scores = p.copy()  # softmax and cross entropy together: (p - one-hot target), shared among the T steps
    d_scores[steps, targets] -= 1.0
    d_scores /= len(x)
    gradients = {name: np.zeros_like(weight) for name, weight in weights.items()}
    gradients["V"], gradients["c"] = d_scores.T @ states[1:], d_scores.sum(0)
    d_h = np.zeros_like(h)  # what flows back into h_t from the steps after t
    for t in reversed(steps):
        d_h = d_h + weights["V"].T @ d_scores[t]
        d_z = d_h * (1.0 - states[t + 1] ** 2)  # through tanh
        gradients["U"] += np.outer(d_z, x[t])
        gradients["W"] += np.outer(d_z, states[t])
        gradients["b"] += d_z
        d_h = weights["W"].T @ d_z  # on to h_{t-1}: the product over time in which gradients vanish or explode
    return float(loss), scores, gradients | {"h": d_h}


def check_gradients(weights: Weights, x: np.ndarray, targets: np.ndarray, h: np.ndarray, step: float = 1e-6) -> float:
    """Return the largest difference between a gradient and (L(w + step) - L(w - step)) / (2 step), over all weights."""
    _, _, gradients = loss_and_gradients(weights, x, targets, h)
    worst = 0.0
    for name, values in {**weights, "h": h}.items():
        for place in np.ndindex(values.shape):
            kept, losses = values[place], []
            for moved in (kept + step, kept - step):
                values[place] = moved
                losses.append(loss_and_gradients(weights, x, targets, h)[0])
            values[place] = kept
            worst = max(worst, abs((losses[0] - losses[1]) / (2 * step) - gradients[name][place]))
    return worst


def main() -> None:
    """Check the gradients, then learn to spell."""
    word = "recurrence"
    letters = sorted(set(word))
    ids = np.array([letters.index(letter) for letter in word])
    x, targets = np.eye(len(letters))[ids[:-1]], ids[1:]
    weights, h = initialise(len(letters), 16, len(letters)), np.zeros(16)
    print(f"gradients differ from numerical ones by at most {check_gradients(weights, x, targets, h):.1e}")
    for update in range(301):
        loss, scores, gradients = loss_and_gradients(weights, x, targets, h)
        if update % 100 == 0:
            print(f"update {update:3}: loss {loss:.4f}  {word[0]}{''.join(letters[i] for i in scores.argmax(1))}")
        for name, weight in weights.items():
            weight -= 0.5 * np.clip(gradients[name], -1.0, 1.0)


if __name__ == "__main__":
    main()
