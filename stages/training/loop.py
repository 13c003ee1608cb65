"""Train one method on the tracks and write its model folder; the state is saved after every epoch and within long ones.

`pretrain` starts from initial weights, `refine` from a trained method; all else is equal.
"""

import io
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.modules import model_file, ranks
from fabnet.modules.frame_choice import Choice
from fabnet.modules.method import Batch, Method
from fabnet.modules.model_file import Description
from fabnet.training import options, pairs, watched
from fabnet.training.train import DivergedError, Epoch, Settings, Trainer
from stages.runtime import files, outputs, plugins, progress, tables
from stages.runtime.errors import UserError
from stages.runtime.params import PretrainParams
from stages.storage import journals
from stages.training import gpu_frames, models, processes, torchrun
from stages.training.gpu_frames import GpuFrames
from stages.training.trackset import TrackSet, TrackSource
from stages.training.watch import FIRST_LOSS, Watch

log = logging.getLogger(__name__)

SAVE_MINUTES = 5.0  # within an epoch, the state is saved after so long; no result depends on it
STATE = "state.pt"  # of a training, in its journal
OVERRIDABLE = ("size_px", "batch")  # settings that a method may have itself, instead of the shared ones


class Batches:
    """The samples of an epoch, drawn from the tracks by seed and epoch number alone."""

    def __init__(
        self,
        frames: TrackSet,
        choice: Choice,
        params: PretrainParams,
        device: torch.device,
        *,
        with_identities: bool = False,
    ) -> None:
        """`choice`: of the frames in each sample; `device`: where the batches are wanted.

        `with_identities`: each batch is a pair, of the frames and the numbers (B,) of their identities.

        Raises:
            UserError: an epoch or the validation split does not fill a batch, or frames cannot be decoded on the GPU.
        """
        self._frames, self._choice, self._params = frames, choice, params
        self.device, self._with_identities = device, with_identities
        self._on_gpu = None
        if params.jpeg_decoder == "torchcodec":
            self._on_gpu = GpuFrames(frames, device, gpu_frames.decoder(device))
        self._draws = params.draws_per_identity * frames.times("train", params.oversample)
        self.per_epoch = int(self._draws.sum()) // params.batch
        if not self.per_epoch:
            raise UserError(
                f"an epoch of {len(self._draws)} identities x {params.draws_per_identity} draws does not fill a batch "
                f"of {params.batch}: raise pretrain.draws_per_identity or lower the batch"
            )
        if params.val_samples < params.batch:
            raise UserError(
                f"pretrain.val_samples should fill a batch of {params.batch}, found {params.val_samples}: "
                "raise it or lower the batch"
            )

    def train(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches (B, F, 3, S, S) in [0, 1], of which each process has its share.

        The first `start` ones are left out, and their frames not decoded.
        """
        drawn = self._draw("train", self._draws, seed, epoch)
        return self._batches(drawn[start * self._params.batch :])

    def val(self) -> Iterator[Batch]:
        """The same batches at every call and in every run."""
        return self._batches(self._draw("val", -(-self._params.val_samples // len(self._frames.tracks["val"])), 0))

    def _draw(self, split: str, draws: int | NDArray[np.int64], *random_state: int) -> pairs.Draw:
        return pairs.draw(
            self._frames.tracks[split],
            self._frames.sizes,
            self._frames.jitter_px,
            choice=self._choice,
            draws_per_identity=draws,
            rng=np.random.default_rng(random_state),
        )

    def _batches(self, drawn: pairs.Draw) -> Iterator[Batch]:
        """This process's share of every batch, with the identities if the method wants them."""
        batch, share = self._params.batch, (ranks.number(), ranks.count())
        frames = self._decoded(drawn, batch=batch, share=share)
        if not self._with_identities:
            return frames
        return zip(frames, pairs.identities(drawn, batch=batch, device=self.device, share=share), strict=True)

    def watch(self, label: str) -> Watch:
        """What measures the health of a training, on about `val_samples` frames of the validation split."""
        frames, batch = self._frames, self._params.batch
        tracks = frames.tracks["val"]
        chosen = watched.choose(tracks, frames.sizes, frames.jitter_px, most=self._params.val_samples)
        parts = [chosen.drawn[start : start + batch] for start in range(0, len(chosen), batch)]
        decoded = [whole[:, 0] for part in parts for whole in self._decoded(part, batch=len(part), share=(0, 1))]
        return Watch(label, chosen, decoded)

    def _decoded(self, drawn: pairs.Draw, *, batch: int, share: tuple[int, int]) -> Iterator[Tensor]:
        params = self._params
        return pairs.batches(
            drawn,
            self._on_gpu.read if self._on_gpu else self._frames.image,
            decode=self._on_gpu.decode if self._on_gpu else None,
            batch=batch,
            size_px=params.size_px,
            device=self.device,
            workers=processes.threads(),
            share=share,
        )


def train(
    source: TrackSource,
    method: str,
    settings: Mapping[str, Any],
    params: PretrainParams,
    *,
    seed: int,
    out: Path,
    journal: Path,
    start: Path | None = None,
) -> None:
    """Train `method` and write its model folder `out`.

    Args:
        source: frames to train on.
        method: module of fabnet/pretext.
        settings: the method's own.
        params: what all methods share.
        seed: of initial weights and samples.
        out: model folder.
        journal: folder for unfinished work.
        start: model folder of a method that this one continues.

    Raises:
        UserError: wrong settings, tables that are missing, too little data, or a loss that diverged.
    """
    module = plugins.load("fabnet.pretext", method)
    checked = plugins.settings(module, settings, f"method.{method}")
    params = params.model_copy(update={name: getattr(checked, name) for name in OVERRIDABLE if hasattr(checked, name)})
    net = models.build(module, checked, seed=seed, size_px=params.size_px)
    models.check_parts(method, net, params.size_px)
    before = 0 if start is None else _start(module, net, start)
    stage, label = "pretrain" if start is None else "refine", f"{method}-{seed}"
    ingredients = [*source.track_sets, *source.table_digests(), *_start_bytes(start)]
    work = journals.folder(journal, stage, label, params.model_dump_json(), repr(checked), *ingredients)
    job = Job(stage, method, settings, params, seed, before, work)
    for name in source.track_sets:
        for cut in ("crop", "track"):
            outputs.forget(journal, cut, name)
    outs = {journals.WHOLE: out}
    if _can_share(net) and not journals.is_finished(work, outs) and (number := torchrun.due(params)) > 1:
        torchrun.again(number)
    elif processes.is_first():
        with journals.unfinished(work, outs, takes_over=processes.are_alone()) as is_due:
            if is_due:
                _write(net, source, job, *_trained(net, source, job))
    elif _can_share(net):
        _trained(net, source, job)


@dataclass(frozen=True)
class Job:
    """One training."""

    stage: str
    method: str
    settings: Mapping[str, Any]  # the method's own
    params: PretrainParams
    seed: int
    before: int  # steps of the network that it starts from
    journal: Path  # its own folder there

    def __str__(self) -> str:
        return f"{self.stage} {self.method}-{self.seed}"


def _can_share(net: Method) -> bool:
    """Whether several processes can train it together: step by step, on frames."""
    return net.frames > 0 and not net.is_solved


def _trained(net: Method, source: TrackSource, job: Job) -> tuple[list[dict[str, Any]], tables.Rejects]:
    """Train or solve `net` in place; returns HISTORY rows, and tracks that were too short."""
    if net.frames == 0:
        return [], tables.Rejects(job.stage)
    params = job.params
    with _processes(net, job) as device:
        _check(job.method, net, params, device)
        frames = source.load(net.choice.shortest, job.stage, instead=_instead(job.method, net))
        batches = Batches(frames, net.choice, params, device, with_identities=net.wants_identities)
        if net.is_solved:
            net.solve(batches.train(job.seed, 1))
            return _solved(net, batches.watch(str(job))), frames.rejects
        history = fit(net, batches, params, seed=job.seed, journal=job.journal, label=str(job), before=job.before)
        return history, frames.rejects


def _solved(net: Method, watch: Watch) -> list[dict[str, Any]]:
    """HISTORY rows of a method that was solved in closed form."""
    try:
        return watch.rows(net, 0, 0)
    except DivergedError as error:
        raise UserError(f"{watch.label}: {error}: see whether the frames are all alike") from None


def _instead(name: str, net: Method) -> str:
    """What to do when no track is long enough for the samples of a method."""
    if net.choice.shortest == net.frames:
        return "use a larger release"
    return f"lower method.{name}.gap, found {net.gap}, or raise crop.fps"


def _processes(net: Method, job: Job) -> AbstractContextManager[torch.device]:
    """The device of this process, in a group with the others that train `net`."""
    if _can_share(net):
        return processes.joined(job.params.device, job.params.batch, job.journal.name)
    return nullcontext(models.device(job.params.device))


def _write(net: Method, source: TrackSource, job: Job, history: list[dict[str, Any]], rejects: tables.Rejects) -> None:
    """Write what goes into the model folder."""
    description = Description(
        method=job.method,
        settings=dict(job.settings),
        size_px=job.params.size_px,
        dims=models.embedding_dims(net.cpu(), job.params.size_px),
        seed=job.seed,
        steps=job.before + max((row["step"] for row in history), default=0),
        trained_on=tuple(source.track_sets) if net.frames > 0 else (),
    )
    whole = job.journal / journals.WHOLE
    models.save(whole, description, net)
    tables.write(whole / "history.parquet", tables.HISTORY, history, key=["epoch", "split", "metric"])
    rejects.write(whole / "rejects.parquet")
    log.info("%s: %d steps, %d rejects", job, description.steps, len(rejects))


def _check(name: str, net: Method, params: PretrainParams, device: torch.device) -> None:
    """Raise UserError unless the method can be trained with these parameters on this device."""
    if params.batch < net.smallest_batch:
        raise UserError(
            f"{name} needs batches of at least {net.smallest_batch}, found {params.batch}: raise pretrain.batch"
        )
    if ranks.count() > 1 and params.compile in options.GRAPHS:
        raise UserError(
            f"pretrain.compile {params.compile} records CUDA graphs, which several processes cannot: set it to default "
            "or start one process"
        )
    if params.jpeg_decoder == "torchcodec":
        gpu_frames.decoder(device)
    try:
        if not net.is_solved:
            options.check(params.precision, params.compile, device)
    except ValueError as error:
        raise UserError(f"params.yaml: pretrain.{error}") from None


def _start_bytes(start: Path | None) -> list[bytes]:
    return [] if start is None else [(start / model_file.NAME).read_bytes()]


def _start(module: ModuleType, net: Method, start: Path) -> int:
    """Copy the weights of the model in `start` into `net`; returns the steps of its training."""
    trained, description = models.load(start)
    try:
        if not hasattr(module, "start_from"):
            raise ValueError("it does not continue another method")
        module.start_from(net, trained)
    except ValueError as error:
        name = module.__name__.rsplit(".", 1)[-1]
        raise UserError(f"{name} cannot continue {start}: {error}") from None
    return description.steps


def fit(
    net: Method, batches: Batches, params: PretrainParams, *, seed: int, journal: Path, label: str, before: int = 0
) -> list[dict[str, Any]]:
    """Train `net` in place, resuming from `journal`, with checkpoints of the encoder there; returns HISTORY rows.

    `before`: steps of the network that `net` started from; checkpoints include them.

    Raises:
        UserError: the loss diverged; the last state that was finite stays in the journal, as do all checkpoints.
    """
    trainer = Trainer(net, _settings(params), device=batches.device)
    history = restore(trainer, journal)
    validation = list(batches.val())
    watch = batches.watch(label) if processes.is_first() else None
    remaining = params.epochs * batches.per_epoch - trainer.steps
    ticks = progress.track(range(remaining), remaining, label, "steps") if processes.is_first() else iter(())
    saved = time.monotonic()

    def after_step() -> None:
        nonlocal saved
        next(ticks, None)
        if processes.is_first() and trainer.is_read and time.monotonic() - saved >= 60 * SAVE_MINUTES:
            record(trainer, history, journal)
            saved = time.monotonic()

    try:
        if watch and not trainer.steps:
            history += watch.rows(net, 0, 0)
        for epoch in trainer.epochs(partial(batches.train, seed), lambda: validation, after_step):
            history += rows(epoch)
            log.info("epoch %d: loss train %.4f, val %.4f", epoch.number, epoch.train["loss"], epoch.val["loss"])
            if watch:
                watch.tell_losses(history, _kept(journal))
                is_last = epoch.number == params.epochs
                if is_last or epoch.number % params.checkpoint_epochs == 0:
                    history += watch.rows(net, epoch.number, epoch.steps)
                    if not is_last:
                        models.save_checkpoint(journal / journals.WHOLE, net, before + epoch.steps)
                record(trainer, history, journal)
    except DivergedError as error:
        raise UserError(f"{error}: lower pretrain.lr, found {params.lr}; {_kept(journal)}") from None
    next(ticks, None)
    return history


def _kept(journal: Path) -> str:
    """Which checkpoint of the encoder is the last one so far, in one clause."""
    checkpoints = models.checkpoints(journal / journals.WHOLE)
    if not checkpoints:
        return "there is no checkpoint before it"
    return f"the last checkpoint before it is kept, {checkpoints[max(checkpoints)]}"


def rows(epoch: Epoch) -> list[dict[str, Any]]:
    """HISTORY rows of one epoch."""
    values = {"train": {**epoch.train, "lr": epoch.lr}, "val": epoch.val}
    if epoch.number == 1:
        values["train"][FIRST_LOSS] = epoch.first
    return [
        {"epoch": epoch.number, "step": epoch.steps, "split": split, "metric": metric, "value": value}
        for split, metrics in values.items()
        for metric, value in metrics.items()
    ]


def record(trainer: Trainer, history: list[dict[str, Any]], journal: Path) -> None:
    """Save the state of training in one step, with the checkpoints that belong to it by name and size."""
    content = io.BytesIO()  # a full disk is an error of the file that is written, not one of PyTorch's
    torch.save({"trainer": trainer.state(), "history": history, "checkpoints": _checkpoints(journal)}, content)
    with files.whole(journal / STATE) as path:
        path.write_bytes(content.getbuffer())


def restore(trainer: Trainer, journal: Path) -> list[dict[str, Any]]:
    """Load the journal's state into `trainer`, if there is one that can be used; returns the history so far.

    The first process reads it for all: other machines may not see its journal.
    """
    saved = ranks.of_first(_saved(journal) if processes.is_first() else None)
    if saved is None:
        return []
    trainer.restore(saved["trainer"])
    log.info("resuming after step %d", trainer.steps)
    return saved["history"]


def _saved(journal: Path) -> dict[str, Any] | None:
    """The state in the journal. One that is damaged, or lacks a checkpoint, is put aside with all its checkpoints."""
    path, whole = journal / STATE, journal / journals.WHOLE
    if path.exists():
        content, checkpoints = path.read_bytes(), _checkpoints(journal)
        try:
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if saved["checkpoints"].items() <= checkpoints.items():
                return saved
        except Exception as error:  # on damaged bytes the unpickler raises almost anything
            if isinstance(error, MemoryError):
                raise
        journals.put_aside(path, "the state of the training")
    outputs.remove(whole)
    return None


def _checkpoints(journal: Path) -> dict[str, int]:
    """Bytes of the checkpoints so far, by name."""
    return {path.name: path.stat().st_size for path in models.checkpoints(journal / journals.WHOLE).values()}


def _settings(params: PretrainParams) -> Settings:
    names = Settings.__dataclass_fields__
    return Settings(**{name: value for name, value in dict(params).items() if name in names})
