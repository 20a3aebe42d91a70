"""Training in several processes: `DistributedDataParallel` around our layers gives the gradients of the whole batch."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as processes
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import recurra

WORLD = 2


def _model() -> nn.Module:
    torch.manual_seed(0)
    return _Labels(recurra.LSTM(4, 16, num_layers=2, bidirectional=True), recurra.Recurrent("gru", 32, 16))


class _Labels(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.head = first, second, nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(x)[0])[0])


def _batch() -> torch.Tensor:
    return torch.randn(20, 6, 4, generator=torch.Generator().manual_seed(1))


def _work(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", world_size=WORLD, rank=rank)
    model = DistributedDataParallel(_model())
    share = _batch()[:, rank * 3 : rank * 3 + 3]
    for _ in range(2):  # the second time nothing is built or bound any more
        model.zero_grad()
        model(share).square().mean().backward()
    if rank == 0:
        torch.save([p.grad for p in model.module.parameters()], Path(folder) / "gradients.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="this PyTorch has no torch.distributed")
def test_two_processes_share_a_batch(tmp_path: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    processes.spawn(_work, (port, str(tmp_path)), nprocs=WORLD)
    found = torch.load(tmp_path / "gradients.pt")
    model = _model()
    model(_batch()).square().mean().backward()
    for p, g in zip(model.parameters(), found, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(g, p.grad, atol=1e-6, rtol=1e-4)
