"""Train one pretext method on the face tracks.

Reads: shards and TRACK_FRAMES tables of every track data set, their SPLITS tables.
Writes: model.json, encoder.safetensors, method.safetensors, a HISTORY table and a rejects table.
Params: tracks, pretrain, method.<method>.

After every epoch the whole state goes to a journal, so a run that was stopped goes on and ends with the same
weights as one that was not: bit for bit on a CPU, up to the order in which a GPU adds up gradients elsewhere.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fabnet import pairs, train
from fabnet.method import Method
from stages import command, journals, models, plugins, progress, tables
from stages.config import PretrainParams
from stages.errors import UserError
from stages.trackset import TrackSet

SECTIONS = {"datasets": "tracks", "params": "pretrain", "method_params": "method.{method}"}
log = logging.getLogger(__name__)


def run(
    *,
    method: str,
    seed: int,
    tracks: Path,
    splits: Path,
    out: Path,
    datasets: list[str],
    params: PretrainParams,
    method_params: dict[str, Any],
    journal: Path = Path(".journal"),
) -> None:
    """Train `method` from `seed` and write its model folder `out`."""
    module = plugins.load("fabnet.pretext", method)
    settings = plugins.settings(module, method_params, f"method.{method}")
    net = initialised(module.build, settings, seed=seed, size_px=params.size_px)
    index = _index_bytes(tracks, splits, datasets)
    work = journals.folder(
        journal, "pretrain", f"{method}-{seed}", params.model_dump_json(), repr(settings), *datasets, *index
    )
    history: list[dict[str, Any]] = []
    rejects: list[dict[str, str]] = []
    if net.frames > 0:
        frames = TrackSet.load(tracks, splits, datasets, params.jitter_px, frames=net.frames)
        rejects = frames.rejects
        history = fit(net, frames, params, seed=seed, journal=work, label=f"{method}-{seed}")
    card = models.ModelCard(
        method=method,
        seed=seed,
        size_px=params.size_px,
        width=settings.width,
        embedding=settings.embedding,
        trained_on=datasets if history else [],
        steps=max((row["step"] for row in history), default=0),
    )
    models.save(work / "whole", card, net.encoder, net)
    tables.write(work / "whole" / "history.parquet", tables.HISTORY, history, key=["epoch", "part", "metric"])
    tables.write_rejects(work / "whole" / "rejects.parquet", rejects)
    journals.move_into_place(work / "whole", out)
    journals.forget(work)
    log.info("pretrain %s-%d: %d steps, %d rejects", method, seed, card.steps, len(rejects))


def _index_bytes(tracks: Path, splits: Path, datasets: list[str]) -> list[bytes]:
    """What the tables say; they name every frame by its digest, so they stand for the shards."""
    paths = [tracks / name / "index.parquet" for name in datasets] + [splits / f"{name}.parquet" for name in datasets]
    return [path.read_bytes() for path in paths if path.exists()]


def initialised(build: Any, settings: Any, *, seed: int, size_px: int) -> Method:
    """`build`'s network with initial weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(settings, size_px=size_px)


def fit(
    net: Method, frames: TrackSet, params: PretrainParams, *, seed: int, journal: Path, label: str
) -> list[dict[str, Any]]:
    """Train `net` in place, resuming from `journal`; returns HISTORY rows.

    Raises:
        UserError: too few samples for a batch, or the loss diverged.
    """
    _check_batch(frames, params)
    device = models.device(params.device)
    trainer = train.Trainer(net, _settings(params), device=device)
    history = restore(trainer, journal)

    def batches_of(part: str, draws: int, *random_state: int) -> Iterator[Tensor]:
        drawn = pairs.draw(
            frames.tracks[part],
            frames.sizes,
            frames.jitter_px,
            frames=net.frames,
            draws_per_identity=draws,
            rng=np.random.default_rng(random_state),
        )
        return pairs.batches(drawn, frames.image, batch=params.batch, size_px=params.size_px, device=device)

    validation = list(batches_of("val", -(-params.val_samples // len(frames.tracks["val"])), 0))
    per_epoch = len(frames.tracks["train"]) * params.draws_per_identity // params.batch
    remaining = params.epochs * per_epoch - trainer.steps
    ticks = progress.track(range(remaining), remaining, f"pretrain {label}", "steps")
    try:
        for epoch in trainer.epochs(
            lambda number: batches_of("train", params.draws_per_identity, seed, number),
            lambda: validation,
            lambda _: next(ticks, None),
        ):
            history += rows(epoch)
            record(trainer, history, journal)
            log.info("epoch %d: loss train %.4f, val %.4f", epoch.number, epoch.train["loss"], epoch.val["loss"])
    except train.DivergedError as error:
        raise UserError(f"{error}: lower pretrain.lr, found {params.lr}") from None
    next(ticks, None)
    return history


def _check_batch(frames: TrackSet, params: PretrainParams) -> None:
    identities = len(frames.tracks["train"])
    if identities * params.draws_per_identity < params.batch:
        raise UserError(
            f"an epoch of {identities} identities x {params.draws_per_identity} draws does not fill a batch of "
            f"{params.batch}: raise pretrain.draws_per_identity or lower pretrain.batch"
        )
    if params.val_samples < params.batch:
        raise UserError(
            f"pretrain.val_samples should fill a batch of {params.batch}, found {params.val_samples}: "
            "raise it or lower pretrain.batch"
        )


def rows(epoch: train.Epoch) -> list[dict[str, Any]]:
    """HISTORY rows of one epoch."""
    values = {"train": {**epoch.train, "lr": epoch.lr}, "val": epoch.val}
    return [
        {"epoch": epoch.number, "step": epoch.steps, "part": part, "metric": metric, "value": value}
        for part, metrics in values.items()
        for metric, value in metrics.items()
    ]


def record(trainer: train.Trainer, history: list[dict[str, Any]], journal: Path) -> None:
    """Save the state of training in one step."""
    journal.mkdir(parents=True, exist_ok=True)
    torch.save({"trainer": trainer.state(), "history": history}, journal / ".state.partial")
    (journal / ".state.partial").replace(journal / "state.pt")


def restore(trainer: train.Trainer, journal: Path) -> list[dict[str, Any]]:
    """Load the journal's state into `trainer`, if there is one; returns the history so far."""
    if not (journal / "state.pt").exists():
        return []
    saved = torch.load(journal / "state.pt", map_location="cpu", weights_only=True)
    trainer.restore(saved["trainer"])
    log.info("going on after epoch %d", trainer.epoch)
    return saved["history"]


def _settings(params: PretrainParams) -> train.Settings:
    names = train.Settings.__dataclass_fields__
    return train.Settings(**{name: value for name, value in dict(params).items() if name in names})


if __name__ == "__main__":
    command.main(run, SECTIONS, __doc__)
