"""Training epochs of any pretext method, with a state from which training can resume; nothing is saved here."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from fabnet.modules.method import Method
from fabnet.training import options

READ_STEPS = 32  # a GPU is waited for after so many steps, to read their losses; a CPU after each


@dataclass(frozen=True)
class Settings:
    optimiser: Literal["adam", "sgd"]
    lr: float
    momentum: float  # used by sgd
    weight_decay: float
    epochs: int
    plateau_factor: float
    plateau_patience: int
    precision: options.Precision = "float32"  # of convolutions and products; float16 needs CUDA
    fused: bool = (
        False  # the optimiser moves all weights in one call; without it, float16 waits for the GPU in each step
    )
    compile: options.Mode = "none"  # how the losses and their gradients are compiled


@dataclass(frozen=True)
class Epoch:
    number: int  # 1 after the first
    steps: int  # since the start
    train: dict[str, float]  # means over the epoch
    val: dict[str, float]
    lr: float  # of this epoch


class DivergedError(RuntimeError):
    """The loss is no longer finite."""


class Trainer:
    """Method, optimiser and learning-rate schedule, with all state needed to resume after a stop.

    The learning rate is multiplied by `plateau_factor` when the validation loss has not improved for more than
    `plateau_patience` epochs (supplement: divided by 10 on a plateau), not while the method's curriculum lasts.
    """

    def __init__(
        self, method: Method, settings: Settings, *, device: torch.device, read_steps: int | None = None
    ) -> None:
        """Whether `device` can do what the settings ask for, `options.check` tells.

        `read_steps`: losses are read after so many steps; None chooses by the device.
        """
        # channels last: a step takes 2/3 of the time on a CPU; PyTorch's types do not know the argument
        self.method = method.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.settings = settings
        self.device = device
        self.optimiser = _optimiser(method, settings)
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimiser, factor=settings.plateau_factor, patience=settings.plateau_patience
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "float16")
        self.losses = options.compiled(self.method.losses, settings.compile)
        self.read_steps = read_steps or (1 if device.type == "cpu" else READ_STEPS)
        self.epoch = 0
        self.steps = 0

    def epochs(
        self,
        train: Callable[[int], Iterable[Tensor]],
        val: Callable[[], Iterable[Tensor]],
        on_step: Callable[[dict[str, float]], object],
    ) -> Iterator[Epoch]:
        """Train from the current state to the last epoch.

        Args:
            train: epoch number -> batches (B, F, 3, S, S) in [0, 1].
            val: the same validation batches at every call.
            on_step: called with the losses of every step, when they are read.

        Raises:
            DivergedError: the training or validation loss is infinite or not a number. It is found before the weights
                change where losses are read after every step, and before the epoch ends elsewhere.
        """
        while self.epoch < self.settings.epochs:
            lr = self.optimiser.param_groups[0]["lr"]
            trained = self._train(train(self.epoch + 1), on_step)
            validated = self.validate(val())
            _check(validated["loss"], f"after step {self.steps}")
            if not self.method.observe(validated["loss"]):
                self.schedule.step(validated["loss"])
            self.epoch += 1
            yield Epoch(self.epoch, self.steps, trained, validated, lr)

    def validate(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """Mean losses over `batches`, with BN in evaluation mode."""
        self.method.eval()
        with torch.inference_mode(), options.autocast(self.settings.precision, self.device):
            return _means({k: v.item() for k, v in self.method.losses(frames).items()} for frames in batches)

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, as tensors and plain values."""
        return {
            "method": self.method.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch": self.epoch,
            "steps": self.steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from a `state()` of the same method and settings."""
        self.method.load_state_dict(state["method"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.epoch, self.steps = state["epoch"], state["steps"]

    def _train(self, batches: Iterable[Tensor], on_step: Callable[[dict[str, float]], object]) -> dict[str, float]:
        """Mean losses over the steps of one epoch."""
        rows: list[dict[str, float]] = []
        unread: list[dict[str, Tensor]] = []
        for frames in batches:
            self.method.train()
            self.optimiser.zero_grad(set_to_none=True)
            with options.autocast(self.settings.precision, self.device):
                losses = self.losses(frames)
            self.steps += 1
            unread.append({name: loss.detach() for name, loss in losses.items()})
            if len(unread) == self.read_steps:
                rows += self._read(unread, on_step)
                unread = []
            self.scaler.scale(losses["loss"]).backward()
            self.scaler.step(self.optimiser)
            self.scaler.update()
        return _means(rows + self._read(unread, on_step))

    def _read(
        self, unread: list[dict[str, Tensor]], on_step: Callable[[dict[str, float]], object]
    ) -> list[dict[str, float]]:
        """Losses of the latest steps, copied from the device at once."""
        if not unread:
            return []
        values = torch.stack([torch.stack([loss.float() for loss in losses.values()]) for losses in unread]).tolist()
        rows = [dict(zip(losses, row, strict=True)) for losses, row in zip(unread, values, strict=True)]
        for number, row in enumerate(rows, self.steps - len(rows) + 1):
            _check(row["loss"], f"in step {number}")
            on_step(row)
        return rows


def _optimiser(method: Method, settings: Settings) -> torch.optim.Optimizer:
    weights = [weight for weight in method.parameters() if weight.requires_grad]
    fused = settings.fused or None  # PyTorch takes False as: one weight after the other
    if settings.optimiser == "adam":
        return torch.optim.Adam(weights, lr=settings.lr, weight_decay=settings.weight_decay, fused=fused)
    return torch.optim.SGD(
        weights, settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=fused
    )


def _check(loss: float, where: str) -> None:
    if not math.isfinite(loss):
        raise DivergedError(f"the loss became {loss} {where}")


def _means(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    collected = list(rows)
    if not collected:
        raise ValueError("no batch: there are fewer samples than `batch`")
    return {name: math.fsum(row[name] for row in collected) / len(collected) for name in collected[0]}
