"""The training loop: anything `Trainable`, into a model folder, resumable at every step."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from recurra.core.errors import ArgumentError, DataError, DivergedError, FolderError, MismatchError
from recurra.core.protocols import Counted, Trainable
from recurra.learning import checkpoint as saved
from recurra.learning.averaging import NonMonotonicAverage
from recurra.learning.clipping import clip_gradients
from recurra.learning.fingerprint import describe_environment, differences, flatten
from recurra.learning.folder import ModelFolder
from recurra.learning.metrics import MetricsFile
from recurra.learning.options import DEFAULT_EPOCHS, TrainerOptions
from recurra.learning.penalties import Penalties
from recurra.learning.progress import Progress, SilentProgress
from recurra.learning.schedules import learning_rate, watch_plateau
from recurra.learning.signals import StopRequest, stop_on_signals

__all__ = ["Result", "Trainer", "make_optimizer"]

_END = object()
_AVERAGE = "average."


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    step: int
    """Updates made, over all sessions of the run."""
    epoch: int
    """Epochs finished."""
    tokens: int
    """Tokens learned from."""
    best_step: int | None
    """The step whose weights model.safetensors holds; None if nothing was validated yet."""
    best_val_loss: float | None
    """The validation loss there, in nats a token."""
    stopped_early: bool
    """Whether patience ran out."""
    interrupted_by: int | None
    """Number of the signal that stopped the run (the exit code is 128 more), None if it came to its end."""
    elapsed_seconds: float
    """Time spent in training, over all sessions of the run."""

    @property
    def message(self) -> str:
        """One line for people."""
        if self.interrupted_by is not None:
            name = signal.Signals(self.interrupted_by).name
            return f"stopped by {name} after step {self.step}; everything is saved: go on with --resume"
        best = (
            "" if self.best_val_loss is None else f", best val_loss {self.best_val_loss:.4f} at step {self.best_step}"
        )
        why = " (no gain any more)" if self.stopped_early else ""
        return f"trained {self.step} steps{why}{best}"


class Trainer:
    """Trains a `Trainable` into a `ModelFolder`.

    fingerprint: what configuration and data are, as JSON values (nested as you like): a resumed run must have the same.
    environment: what else the last bits depend on (the backend): a difference is reported, not refused.

    Random numbers: torch's generators are seeded, saved and restored here. The network's first weights are drawn
    before, so whoever builds it seeds too. Validation and samples leave the generators as they found them.

    Epochs are counted from 0 in `Trainable.batches` and from 1 in metrics.jsonl. What is carried from batch to batch
    is given up where an epoch begins: the trainer calls `restore({})` there.
    """

    def __init__(
        self,
        trainable: Trainable,
        folder: ModelFolder,
        options: TrainerOptions | None = None,
        *,
        fingerprint: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.trainable = trainable
        self.folder = folder
        self.options = options or TrainerOptions()
        self.progress: Progress = progress or SilentProgress()
        self._network = trainable.network
        self._penalties = Penalties(trainable, self.options)
        self._fingerprint = self.options.binding() | flatten(fingerprint or {})
        self._environment = describe_environment(self._network) | flatten(environment or {})

    def run(self, *, resume: bool = False) -> Result:
        """Train to the end, or until a signal or a failure stops it.

        resume: go on from the last checkpoint; a run that was killed before its first one begins anew.
        Raises DivergedError where the loss is no number any more, MismatchError where configuration or data are not
        those of the run that is resumed, FolderError where the folder cannot be read or written.
        """
        with self.folder.locked(), stop_on_signals() as request:
            self._total = self._count_steps()
            found = self._find_checkpoint() if resume else None
            if not resume and self.folder.metrics_path.exists():
                raise FolderError(
                    f"{self.folder.path} holds a run: go on with --resume, or replace it with --overwrite"
                )
            self._set_up(found)
            with MetricsFile(self.folder.metrics_path, found.metrics_bytes if found else 0) as self._metrics:
                if found is None:
                    self._save()
                else:
                    self._write_model()
                self.progress.started(self._counters.step, self._total)
                try:
                    while not self._done() and request.signal is None:
                        self._learn_epoch(request)
                    if self._saved_step != self._counters.step:
                        self._save()
                finally:
                    self.progress.finished()
            return self._result(request)

    def check(self) -> None:
        """Raise MismatchError, as `run(resume=True)` would, where the run in the folder cannot go on with this one."""
        found, _ = self.folder.load_checkpoint()
        if found is not None:
            self._refuse_changes(found)

    def _learn_epoch(self, request: StopRequest) -> None:
        """Learn from what is left of the epoch."""
        c = self._counters
        if c.batch == 0:
            self.trainable.restore({})
        empty = True
        for batch, last in _mark_last(self.trainable.batches(c.epoch, c.batch)):
            empty = False
            row = self._step(batch)
            c.epoch, c.batch = (c.epoch + 1, 0) if last else (c.epoch, c.batch + 1)
            every = self.options.validate_every
            if (last if every is None else c.step % every == 0) or self._done():
                row |= self._validate()
            done = self._done()
            if done or c.validated_step == c.step or c.step % self.options.log_every == 0:
                self._log(row)
            if c.step % self.options.checkpoint_every == 0:
                self._save()
            if done or request.signal is not None:
                return
        if empty:
            raise DataError(f"the data gives no batch in epoch {c.epoch + 1}: it is too small for these windows")

    def _step(self, batch: Any) -> dict[str, Any]:
        """Make one update; return the row of metrics that belongs to it."""
        c, options = self._counters, self.options
        rate = learning_rate(options, c, self._total)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        with self._penalties.noisy():
            loss_tensor, whole, tokens = self._penalties.loss(batch)
            whole.backward()
        norm = float(clip_gradients(self._network.parameters(), norm=options.clip_norm, value=options.clip_value))
        loss = float(loss_tensor.detach())
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._diverged(f"the loss became {loss} with a gradient norm of {norm} at step {c.step + 1}")
        self._optimizer.step()
        self._average.updated()
        c.step += 1
        c.tokens += tokens
        c.loss_sum += loss * tokens
        c.loss_tokens += tokens
        c.last_norm = norm
        self.progress.stepped(c.step, c.epoch + 1, loss, tokens, norm)
        return {"step": c.step, "epoch": c.epoch + 1, "learning_rate": rate, "gradient_norm": norm}

    def _validate(self) -> dict[str, float]:
        """Validate, keep the weights if they are the best so far, and return the metrics."""
        c = self._counters
        with self._undisturbed(), self._average.applied():
            metrics = {name: float(value) for name, value in self.trainable.validate().items()}
        if "val_loss" not in metrics:
            raise ArgumentError(f"validate() must give 'val_loss', got {', '.join(metrics) or 'nothing'}")
        val_loss = metrics["val_loss"]
        if not math.isfinite(val_loss):
            raise self._diverged(f"the validation loss became {val_loss} after step {c.step}")
        c.validated_step = c.step
        c.validations_since_best += 1
        if self.options.schedule == "plateau":
            watch_plateau(self.options, c, val_loss)
        if c.best_val_loss is None or val_loss < c.best_val_loss:
            c.best_step, c.best_val_loss, c.validations_since_best = c.step, val_loss, 0
            with self._average.applied():
                self._best = self._weights()
            self._write_model()
        if self.options.average_after:
            self._average.validated(val_loss)
        self.progress.validated(c.step, metrics, self._sample)
        return metrics

    def _done(self) -> bool:
        c, options = self._counters, self.options
        if self._stopped_early():
            return True
        return c.step >= options.steps if options.steps is not None else c.epoch >= (options.epochs or DEFAULT_EPOCHS)

    def _stopped_early(self) -> bool:
        return self.options.patience is not None and self._counters.validations_since_best >= self.options.patience

    def _log(self, row: dict[str, Any]) -> None:
        c, now = self._counters, time.monotonic()
        head = {"step": row.pop("step"), "epoch": row.pop("epoch"), "tokens": c.tokens}
        clock = {
            "elapsed_seconds": self._elapsed(),
            "step_seconds": (now - self._line_began) / (c.step - self._line_step),
        }
        self._metrics.append({**head, "loss": c.loss_sum / max(1, c.loss_tokens), **row, **clock})
        c.loss_sum, c.loss_tokens = 0.0, 0
        self._line_began, self._line_step = now, c.step

    def _set_up(self, found: saved.Checkpoint | None) -> None:
        """Make everything as the checkpoint has it, or fresh."""
        self._network.train()
        self._optimizer = make_optimizer(self._network, self.options)
        learned = (p for p in self._network.parameters() if p.requires_grad)
        self._average = NonMonotonicAverage(learned, max(1, self.options.average_after))
        if found is None:
            self._counters, self._best = saved.Counters(), dict[str, Tensor]()
            self._saved_step = -1
            torch.manual_seed(self.options.seed)
            self.trainable.restore({})
        else:
            self._counters, self._best = found.counters, dict(found.best)
            self._saved_step = found.counters.step
            saved.restore_weights(self._network, found.model, f"the checkpoint in {self.folder.path}")
            saved.restore_optimizer(self._optimizer, found.optimizer)
            carried = dict(found.carried)
            mean = {n: carried.pop(n) for n in found.carried if n.startswith(_AVERAGE)}
            if mean:
                self._average.restore({n.removeprefix(_AVERAGE): t for n, t in mean.items()})
            self.trainable.restore(carried)
            saved.restore_rng(found.rng)
            self.folder.remove_checkpoints_after(self._counters.step)
        self._began = self._line_began = time.monotonic()
        self._line_step = self._counters.step
        self._elapsed_before = self._counters.elapsed_seconds

    def _find_checkpoint(self) -> saved.Checkpoint | None:
        """Return the checkpoint to go on from, after saying what is odd about it and refusing what does not fit."""
        found, damage = self.folder.load_checkpoint()
        for line in damage:
            self.progress.note(f"{line}; going on from the checkpoint before it")
        if found is None:
            self.progress.note(f"{self.folder.path} has no checkpoint yet: training begins anew")
            return None
        self._refuse_changes(found)
        other = differences(found.environment, self._environment)
        if other:
            self.progress.note(f"{'; '.join(other)} (was → is): the last bits of the result may differ")
        return found

    def _refuse_changes(self, found: saved.Checkpoint) -> None:
        changed = differences(found.fingerprint, self._fingerprint)
        if changed:
            raise MismatchError(
                f"cannot resume {self.folder.path}: {'; '.join(changed)} (was → is): "
                "give the options and data it was begun with, or begin anew with --overwrite"
            )

    def _save(self) -> None:
        c = self._counters
        weights = self._weights()
        c.elapsed_seconds = self._elapsed()
        size, digest = self._metrics.position()
        tensors = self._average.tensors() if self.options.average_after else {}
        mean = {f"{_AVERAGE}{name}": tensor for name, tensor in tensors.items()}
        checkpoint = saved.Checkpoint(
            counters=c,
            model=weights,
            optimizer=saved.optimizer_tensors(self._optimizer),
            rng=saved.rng_tensors(),
            carried={**self.trainable.carried(), **mean},
            best=self._best,
            metrics_bytes=size,
            metrics_sha256=digest,
            fingerprint=self._fingerprint,
            environment=self._environment,
        )
        self.folder.save_checkpoint(checkpoint)
        self._saved_step = c.step
        if not self._best:
            self._write_model()

    def _write_model(self) -> None:
        """Write the best weights; as long as nothing was validated, those of the checkpoint."""
        c = self._counters
        noted = {"step": c.best_step, "val_loss": c.best_val_loss} if self._best else {"step": c.step}
        self.folder.write_model(self._best or self._weights(), noted)

    def _weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights; it is never of use where they are no numbers any more."""
        weights = {name: t.detach().to("cpu", copy=True) for name, t in self._network.state_dict().items()}
        for name, tensor in weights.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise self._diverged(f"the weight {name!r} is not finite after step {self._counters.step}")
        return weights

    def _sample(self) -> str | None:
        with self._undisturbed():
            return self.trainable.sample()

    @contextlib.contextmanager
    def _undisturbed(self) -> Generator[None]:
        """Run a block in evaluation mode without gradients, and leave no trace of it in the random numbers."""
        states = saved.rng_tensors()
        self._network.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self._network.train()
            saved.restore_rng(states)

    def _elapsed(self) -> float:
        return self._elapsed_before + time.monotonic() - self._began

    def _count_steps(self) -> int:
        """Return the steps of the whole run; where only epochs are given, as many an epoch as the first one has."""
        if self.options.steps is not None:
            return self.options.steps
        epochs = range(self.options.epochs or DEFAULT_EPOCHS)
        if isinstance(self.trainable, Counted):
            return sum(self.trainable.count(epoch) for epoch in epochs)
        return len(epochs) * sum(1 for _ in self.trainable.batches(0))

    def _diverged(self, what: str) -> DivergedError:
        options, c = self.options, self._counters
        clip = f"a smaller --clip-norm (it was {options.clip_norm:g})" if options.clip_norm else "--clip-norm 1"
        return DivergedError(
            f"{what} (gradient norm {c.last_norm:.4g} at the step before): "
            f"try a smaller --learning-rate (it was {options.learning_rate:g}) or {clip}; the last checkpoint is good"
        )

    def _result(self, request: StopRequest) -> Result:
        c, done = self._counters, self._done()
        return Result(
            step=c.step,
            epoch=c.epoch,
            tokens=c.tokens,
            best_step=c.best_step if self._best else None,
            best_val_loss=c.best_val_loss,
            stopped_early=self._stopped_early(),
            interrupted_by=None if done else request.signal,
            elapsed_seconds=self._elapsed(),
        )


def make_optimizer(network: nn.Module, options: TrainerOptions) -> Optimizer:
    """Return the optimizer that the options name, over all parameters that learn.

    Adam and AdamW are torch's fused ones where there is such a one: a single pass over the weights instead of one for
    each operation, ten times as fast for large embeddings; the last bits differ.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise ArgumentError("the network has no parameter that learns: there is nothing to train")
    rate, decay = options.learning_rate, options.weight_decay
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    match options.optimizer:
        case "adam":
            return Adam(parameters, lr=rate, weight_decay=decay, fused=fused)
        case "adamw":
            return AdamW(parameters, lr=rate, weight_decay=decay, fused=fused)
        case "sgd":
            return SGD(parameters, lr=rate, weight_decay=decay, momentum=options.momentum)


def _mark_last(batches: Iterator[Any]) -> Iterator[tuple[Any, bool]]:
    """Yield each batch with whether it is the epoch's last."""
    waiting = next(batches, _END)
    while waiting is not _END:
        batch, waiting = waiting, next(batches, _END)
        yield batch, waiting is _END
