"""Training epochs of any pretext method, with a state from which training can resume; nothing is saved here."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fabnet.modules import ranks
from fabnet.modules.method import Batch, Method
from fabnet.training import options, rates
from fabnet.training.record import Record

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
    schedule: rates.Rule = "plateau"
    lr_floor: float = 0.0
    lr_hold: float = 0.0
    precision: options.Precision = "float32"  # of convolutions and products; float16 needs CUDA
    fused: bool = False  # the optimiser moves all weights in one call; float16 without it waits for each step
    compile: options.Mode = "none"  # how the losses and their gradients are compiled


@dataclass(frozen=True)
class Epoch:
    number: int  # 1 after the first
    steps: int  # since the start
    train: dict[str, float]  # means over the epoch
    val: dict[str, float]
    lr: float  # of this epoch
    first: float  # training loss of its first step


class DivergedError(RuntimeError):
    """A loss or weight is no longer finite."""


class Trainer:
    """Method, optimiser and learning-rate schedule, with all state needed to resume after a stop.

    The learning rate falls by `rates.schedule`, on a plateau only after the method's curriculum has ended.
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
        self.schedule = rates.schedule(
            self.optimiser,
            settings.schedule,
            epochs=settings.epochs,
            factor=settings.plateau_factor,
            patience=settings.plateau_patience,
            floor=settings.lr_floor,
            hold=settings.lr_hold,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "float16")
        self.losses = _shared(method, settings.compile)
        self.read_steps = read_steps or (1 if device.type == "cpu" else READ_STEPS)
        self.epoch = 0  # epochs that are finished
        self.steps = 0  # that are done
        self.begun = 0  # of them, those of the epoch that has begun
        self._record = Record()  # losses of that epoch

    def epochs(
        self,
        train: Callable[[int, int], Iterable[Batch]],
        val: Callable[[], Iterable[Batch]],
        on_step: Callable[[], object],
    ) -> Iterator[Epoch]:
        """Train from the current state to the last epoch.

        Args:
            train: number of an epoch, and of its steps that are done -> its other batches (B, F, 3, S, S) in [0, 1],
                each with the identities (B,) if the method wants them.
            val: the same validation batches at every call.
            on_step: called after every step; `state()` may be taken then, and after an epoch.

        Raises:
            DivergedError: the training or validation loss is infinite or not a number. It is found before the weights
                change where losses are read after every step, and before the epoch ends elsewhere.
        """
        while self.epoch < self.settings.epochs:
            lr = self.optimiser.param_groups[0]["lr"]
            trained = self._train(train(self.epoch + 1, self.begun), on_step)
            validated = self.validate(val())
            _check(validated["loss"], "the loss", f"after step {self.steps}")
            self._lower_rate(validated["loss"])
            self.epoch += 1
            first = self._record.read()["loss"][0]
            self.begun, self._record = 0, Record()
            yield Epoch(self.epoch, self.steps, trained, validated, lr, first)

    def _lower_rate(self, val_loss: float) -> None:
        is_held = self.method.observe(val_loss)
        if isinstance(self.schedule, ReduceLROnPlateau):
            if not is_held:
                self.schedule.step(val_loss)
        else:
            self.schedule.step()

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Mean losses over `batches`, with BN in evaluation mode; they are read at the end."""
        self.method.eval()
        record = Record()
        with torch.inference_mode(), options.autocast(self.settings.precision, self.device):
            for batch in batches:
                record.add(self.method.losses(*_arguments(batch)))
        return record.means()

    @property
    def is_read(self) -> bool:
        """Whether the losses of all steps were read; then a process may take the `state()` without the others."""
        return not self._record.unread

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, as tensors and plain values.

        Raises:
            DivergedError: a loss or weight is infinite or not a number.
        """
        losses = self._read()
        norm = torch.nn.utils.get_total_norm([weight.detach() for weight in self.method.parameters()])
        _check(float(norm), "the norm of the weights", f"after step {self.steps}")
        return {
            "method": self.method.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch": self.epoch,
            "steps": self.steps,
            "begun": self.begun,
            "losses": losses,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from a `state()` of the same method and settings."""
        self.method.load_state_dict(state["method"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.epoch, self.steps, self.begun = state["epoch"], state["steps"], state["begun"]
        self._record = Record(state["losses"])

    def _train(self, batches: Iterable[Batch], on_step: Callable[[], object]) -> dict[str, float]:
        """Mean losses over the steps of one epoch, those before `batches` included."""
        self.method.train()
        for batch in batches:
            self.optimiser.zero_grad(set_to_none=True)
            with options.autocast(self.settings.precision, self.device):
                losses = self.losses(*_arguments(batch))
            self._record.add(losses)
            if self._record.unread >= self.read_steps:
                self._read()
            self.scaler.scale(losses["loss"]).backward()
            self.scaler.step(self.optimiser)
            self.scaler.update()
            self.steps += 1
            self.begun += 1
            on_step()
        self._read()
        return self._record.means()

    def _read(self) -> dict[str, list[float]]:
        """The losses of the epoch so far, those of the latest steps copied from the device at once."""
        unread = self._record.unread
        values = self._record.read()
        losses = values.get("loss", [])
        for place in range(len(losses) - unread, len(losses)):
            _check(losses[place], "the loss", f"in step {self.steps - self.begun + place + 1}")
        return values


class _Losses(nn.Module):
    """The losses of a method as what its module returns."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, *batch: Tensor) -> dict[str, Tensor]:
        return self.method.losses(*batch)


def _arguments(batch: Batch) -> tuple[Tensor, ...]:
    """Of `losses`."""
    return batch if isinstance(batch, tuple) else (batch,)


def _shared(method: Method, mode: options.Mode) -> Callable[..., dict[str, Tensor]]:
    """The losses of a method; their gradients are averaged over all processes, so they are those of the whole batch."""
    if ranks.count() == 1:
        return options.compiled(method.losses, mode)
    # every step uses the same weights, maybe not all of them; compiled within, as hooks on gradients cannot be
    return DistributedDataParallel(options.compiled(_Losses(method), mode), static_graph=True)


def _optimiser(method: Method, settings: Settings) -> torch.optim.Optimizer:
    weights = [weight for weight in method.parameters() if weight.requires_grad]
    fused = settings.fused or None  # PyTorch takes False as: one weight after the other
    if settings.optimiser == "adam":
        return torch.optim.Adam(weights, lr=settings.lr, weight_decay=settings.weight_decay, fused=fused)
    return torch.optim.SGD(
        weights, settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=fused
    )


def _check(value: float, what: str, where: str) -> None:
    if not math.isfinite(value):
        raise DivergedError(f"{what} became {value} {where}")
