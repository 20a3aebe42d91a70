"""The recurrence by hand: three words, one unit, and what it makes of them.

    s_t = u x_t + w s_{t-1},    o_t = v s_t

python examples/bare_unit.py
"""

from __future__ import annotations

import torch

import recurra as rc

__all__ = ["WORDS", "main"]

WORDS = {"我": 1.0, "爱": 2.0, "中国": 3.0}
U, W, V, S_0 = 1.0, 1.0, 2.0, 1.0


def main() -> None:
    """Run one unit over the three words and print every value of the hidden and of the output layer."""
    rnn = rc.Recurrent("bare_unit", 1, 1)
    weights = {"U": U, "W": W, "V": V}
    rnn.load_state_dict({f"layers.0.forward.{name}": torch.tensor([[value]]) for name, value in weights.items()})
    x = torch.tensor(list(WORDS.values())).view(-1, 1, 1)
    o, _, s = rnn(x, torch.full((1, 1, 1), S_0), return_all_states=True)
    for word, hidden, output in zip(WORDS, s.flatten().tolist(), o.flatten().tolist(), strict=True):
        print(f"{word}  隐藏层的值 {hidden:g}  输出层的值 {output:g}")


if __name__ == "__main__":
    main()
