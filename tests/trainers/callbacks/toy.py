"""A small module on a sphere, a loader that can resume, and two processes."""

import os
import random
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from isometry.manifolds import Sphere, register_manifold
from isometry.trainers.optim import RiemannianAdam


class Toy(pl.LightningModule):
    """Points of a sphere and a linear map, whose loss draws from all generators."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.points = nn.Parameter(Sphere(2).random(16, 3, generator=generator))
        register_manifold(self, "points", Sphere(2))
        self.linear = nn.Linear(3, 1)
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(1, 3, generator=generator))
            self.linear.bias.zero_()
        self.draws: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        noise = torch.randn(()) + np.random.randn() + random.random()
        self.draws.append(noise.item())
        return (self.linear(self.points[batch]) - noise).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return RiemannianAdam(self, lr=0.05)


class StatefulLoader:
    """Batches of 16 numbers, permuted by the epoch's number, that can go on in the middle of an epoch."""

    def __init__(self, batch_size: int = 4) -> None:
        self.batch_size = batch_size
        self.sampler = self  # Lightning sets the epoch of a loader's sampler
        self.epoch = self.given = self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 16 // self.batch_size

    def __iter__(self) -> Iterator[Tensor]:
        batches = torch.randperm(16, generator=torch.Generator().manual_seed(self.epoch)).split(self.batch_size)
        first, self.skip = self.skip, 0
        for self.given in range(first + 1, len(batches) + 1):
            yield batches[self.given - 1]

    def state_dict(self) -> dict[str, Any]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.skip = state["given"] % len(self)


def trainer(folder: Any, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    checkpoints = any(isinstance(c, pl.callbacks.Checkpoint) for c in callbacks)
    options = {"max_epochs": 3, "enable_checkpointing": checkpoints, "devices": 1} | quiet | options
    return pl.Trainer(default_root_dir=folder, callbacks=list(callbacks), **options)


def in_two_processes(worker: Callable[..., Any], *args: Any) -> list[Any]:
    """Return what ``worker(rank, *args)`` returns in each of two processes, of which strategy ddp makes a group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    queue = context.SimpleQueue()
    processes = [context.Process(target=_work, args=(rank, port, queue, worker, args)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    hanging = [process for process in processes if process.is_alive()]
    for process in hanging:
        process.kill()
    assert not hanging, "the processes wait for each other"
    results = dict(queue.get() for _ in processes)
    return [results[rank] for rank in range(2)]


def _work(rank: int, port: int, queue: Any, worker: Callable[..., Any], args: tuple[Any, ...]) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    torch.set_num_threads(1)
    try:
        queue.put((rank, worker(rank, *args)))
    except BaseException:
        queue.put((rank, traceback.format_exc()))
