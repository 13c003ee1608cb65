"""Stages on inputs so small that each runs in a fraction of a second, to be killed again and again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import packaged
import perturb_samples
import report_samples
import track_samples
from media_samples import drawn_faces, encoded
from releases import affectnet, bring, face_points, frame_members, voxceleb1, w300
from video_samples import clip, shot

from fabnet.pretext import random
from stages import (
    check,
    crop,
    detect,
    embed,
    fetch,
    illustrate,
    index,
    measure,
    package,
    pretrain,
    probe,
    refine,
    report,
    split,
    track,
)
from stages.runtime import tables
from stages.runtime.params import (
    BoxParams,
    CropParams,
    DetectParams,
    EmbedParams,
    FaceSplitParams,
    FetchParams,
    GeometryParams,
    IllustrateParams,
    IndexParams,
    MeasureParams,
    PerturbParams,
    RefineParams,
    SplitParams,
    SyntheticParams,
)

RANDOM = {"width": 4, "embedding": 6}
FACE_SETS = sorted(packaged.KINDS)
SAMPLE = perturb_samples.SAMPLE
DETECT = DetectParams(
    detector="dlib_hog", weights="", weights_sha256="", upsample=[0], min_score=0.0, margin_frac=0.0, crop_px=64,
    jpeg_quality=95, images_per_unit=1,
)  # fmt: skip


@dataclass(frozen=True)
class Small:
    """A stage on small inputs."""

    prepare: Callable[[Path], object]  # writes the inputs into a folder
    run: Callable[[Path, Path], object]  # inputs, folder for the journal and the outputs
    outs: tuple[str, ...]  # folders or files in that folder, as DVC has them


def _nothing(inputs: Path) -> None:
    pass


def _check(inputs: Path, work: Path) -> None:
    folders = {name: work / name for name in ("raw", "tracks", "faces")}
    check.run(**folders, out=work / "ready.txt", journal=work / "journal", params=SAMPLE)


def _videos(inputs: Path) -> None:
    bring("voxceleb1", voxceleb1(inputs / "release", frame_members(["Ann", "Bob"]), ["Ann", "Bob"]), inputs / "raw")


def _crop(inputs: Path, work: Path) -> None:
    crop.run(
        "voxceleb1", raw=inputs / "raw", out=work / "tracks" / "voxceleb1", sheets=work / "sheets" / "voxceleb1",
        journal=work / "journal", crop=CropParams(fps=5.0, jpeg_quality=95, tracks_per_unit=1),
        geometry=GeometryParams(scale_px=64, pad_ltrb_px=(0, 0, 0, 0), centre_px=64),
    )  # fmt: skip


def _clips(inputs: Path) -> None:
    for name, side in (("ann", 130), ("bob", 140)):
        clip(inputs / "release" / name / "1.mp4", shot(6, (100, 120, side)))
    bring("own_videos", inputs / "release", inputs / "raw")


def _track(inputs: Path, work: Path) -> None:
    own = SAMPLE.dataset["own_videos"]
    track.run(
        "own_videos", raw=inputs / "raw", out=work / "tracks" / "own_videos", sheets=work / "sheets" / "own_videos",
        journal=work / "journal", crop=SAMPLE.crop.model_copy(update={"fps": 5.0}), detect=DETECT, geometry=own.crop,
        track=own.track.model_copy(update={"least_s": 0.5}),
    )  # fmt: skip


def _faces(inputs: Path) -> None:
    images = {f"{n}/{n}.jpg": encoded(drawn_faces(200 + n, 200, (100, 100, 110 + n))) for n in range(3)}
    rows = [f"{name},0,0,200,200,,3,-2,-2" for name in images]
    bring("affectnet", affectnet(inputs / "release", rows[:2], rows[2:], images), inputs / "raw")


def _detect(inputs: Path, work: Path) -> None:
    detect.run(
        "affectnet", raw=inputs / "raw", out=work / "faces" / "affectnet", sheets=work / "sheets" / "affectnet",
        journal=work / "journal", detect=DETECT,
    )  # fmt: skip


def _stills(inputs: Path) -> None:
    faces = {f"{folder}/{number}": face_points(number) for folder in ("afw", "ibug") for number in range(3)}
    bring("w300", w300(inputs / "release", faces), inputs / "raw")


def _index(inputs: Path, work: Path) -> None:
    index.run(
        "w300", raw=inputs / "raw", out=work / "faces" / "w300", sheets=work / "sheets" / "w300",
        journal=work / "journal", index=IndexParams(crop_px=64, jpeg_quality=95, images_per_unit=2),
        box=BoxParams(margin_frac=0.1),
    )  # fmt: skip


def _fetch(inputs: Path, work: Path) -> None:
    fetch.run(
        "w300", out=work / "raw" / "w300", registries=inputs, journal=work / "journal",
        synthetic=SyntheticParams(seed=0), settings={},
        fetch=FetchParams(source="folder", folder=str(inputs / "release")),
    )  # fmt: skip


def _packed_stills(inputs: Path) -> None:
    track_samples.write_tracks(inputs)
    _stills(inputs)
    _index(inputs, inputs)


def _measure(inputs: Path, work: Path) -> None:
    measure.run(
        tracks=inputs / "tracks", faces=inputs / "faces", splits=inputs / "splits", out=work / "framing", seed=1,
        track_sets=["voxceleb1"], face_sets=["w300"], jitter_px={"voxceleb1": (36, 40)}, oversample={}, detect=DETECT,
        measure=MeasureParams(crops=2),
    )  # fmt: skip


def _pretrain(inputs: Path, work: Path) -> None:
    pretrain.run(
        "fabnet", 0, tracks=inputs / "tracks", splits=inputs / "splits", out=work / "models" / "fabnet-0",
        journal=work / "journal", track_sets=["voxceleb1"], settings=track_samples.METHOD_PARAMS,
        pretrain=track_samples.params(epochs=3, checkpoint_epochs=1),
    )  # fmt: skip


def _trained(inputs: Path) -> None:
    track_samples.write_tracks(inputs)
    _pretrain(inputs, inputs)


def _refine(inputs: Path, work: Path) -> None:
    refine.run(
        "fabnet_sources", 0, start=inputs / "models" / "fabnet-0", tracks=inputs / "tracks", splits=inputs / "splits",
        out=work / "models" / "fabnet_sources-0", journal=work / "journal", track_sets=["voxceleb1"],
        settings={**track_samples.METHOD_PARAMS, "sources": 2}, refine=RefineParams(start="fabnet", epochs=2),
        pretrain=track_samples.params(checkpoint_epochs=1),
    )  # fmt: skip


def _packed(inputs: Path) -> None:
    packaged.write_inputs(inputs)
    packaged.write_model(inputs, random, RANDOM)
    packaged.evaluate(inputs, packaged.params("random", RANDOM))


def _embed(inputs: Path, work: Path) -> None:
    embed.run(
        model=inputs / "models" / "random-3", faces=inputs / "faces", tracks=inputs, track_splits=inputs,
        out=work / "embeddings" / "random-3", journal=work / "journal", face_sets=FACE_SETS, track_sets=[], followed=[],
        embed=EmbedParams(batch=1, device="cpu", frames_per_track=3),
    )  # fmt: skip


def _probe(inputs: Path, work: Path) -> None:
    params = packaged.params("random", RANDOM)
    probe.run(
        embeddings=inputs / "embeddings" / "random-3", faces=inputs / "faces", splits=inputs / "splits" / "faces",
        out=work / "metrics" / "random-3", seed=1, face_sets=["affectnet", "mafl"], track_sets=[], followed=["mafl"],
        probe=params.probe, dataset=params.dataset,
    )  # fmt: skip


def _recut(inputs: Path) -> None:
    perturb_samples.write_faces(inputs)
    perturb_samples.evaluate(inputs, random, RANDOM)


def _perturb(inputs: Path, work: Path) -> None:
    few = PerturbParams(images=4, scales=[0.8, 1.0], shifts=[0.1])
    perturb_samples.run(perturb_samples.paths(inputs, "random-3"), work / "sensitivity" / "random-3", perturb=few)


def _package(inputs: Path, work: Path) -> None:
    package.run(
        "random", model=inputs / "models" / "random-3", metrics=inputs / "metrics" / "random-3",
        splits=inputs / "splits", out=work / "packages" / "random-3", params=packaged.params("random", RANDOM),
    )  # fmt: skip


def _illustrate(inputs: Path, work: Path) -> None:
    illustrate.run(
        tracks=inputs, faces=inputs / "faces", splits=inputs / "splits", models=inputs / "models",
        embeddings=inputs / "embeddings", out=work / "figures", seeds=[3], methods=["random"], track_sets=[],
        face_sets=["affectnet"], jitter_px={}, illustrate=IllustrateParams(seed=1, rows=2, neighbours=2),
    )  # fmt: skip


def _indices(inputs: Path) -> None:
    track_samples.write_tracks(inputs)
    rows = [
        {"sample_id": f"f{number}", "group_id": f"f{number}", "owner_split": "train" if number < 30 else "test"}
        for number in range(40)
    ]
    tables.write(inputs / "faces" / "w300" / "index.parquet", tables.FACES, rows, key=["sample_id"])


def _split(inputs: Path, work: Path) -> None:
    shares = SplitParams(track_val=0.3, track_test=0.3, faces={"w300": FaceSplitParams(val=0.3, test=0.0)})
    split.run(
        tracks=inputs / "tracks", faces=inputs / "faces", track_splits=work / "splits" / "tracks",
        face_splits=work / "splits" / "faces", seed=1, track_sets=["voxceleb1"], face_sets=["w300"], split=shares,
    )  # fmt: skip


def _reported(inputs: Path) -> None:
    report_samples.write_inputs(inputs, report_samples.parameters())


def _report(inputs: Path, work: Path) -> None:
    folders = report_samples.folders(inputs)
    report.run(**folders, out=work / "reports", timings=inputs / ".timings", params=report_samples.parameters())


REPORTED = (
    "metrics.parquet", "differences.parquet", "own_heads.parquet", "few_shot.parquet", "crop_sensitivity.parquet",
    "report.html", "metrics", "summary.png", "loss_curves.png", "loss_curves.csv", "learning_curves.png",
    "learning_curves", "health.png", "health", "crop_scale.png", "crop_shift.png", "roc_pr",
)  # fmt: skip

SMALL = {
    "check": Small(_nothing, _check, ("ready.txt",)),
    "fetch": Small(_stills, _fetch, ("raw/w300/manifest.json", "raw/w300/rejects.parquet")),
    "crop": Small(_videos, _crop, ("tracks/voxceleb1", "sheets/voxceleb1")),
    "track": Small(_clips, _track, ("tracks/own_videos", "sheets/own_videos")),
    "detect": Small(_faces, _detect, ("faces/affectnet", "sheets/affectnet")),
    "index": Small(_stills, _index, ("faces/w300", "sheets/w300")),
    "split": Small(_indices, _split, ("splits/tracks", "splits/faces")),
    "measure": Small(_packed_stills, _measure, ("framing",)),
    "pretrain": Small(track_samples.write_tracks, _pretrain, ("models/fabnet-0",)),
    "refine": Small(_trained, _refine, ("models/fabnet_sources-0",)),
    "embed": Small(_packed, _embed, ("embeddings/random-3",)),
    "probe": Small(_packed, _probe, ("metrics/random-3",)),
    "perturb": Small(_recut, _perturb, ("sensitivity/random-3",)),
    "package": Small(_packed, _package, ("packages/random-3",)),
    "illustrate": Small(_packed, _illustrate, ("figures",)),
    "report": Small(_reported, _report, tuple(f"reports/{name}" for name in REPORTED)),
}
