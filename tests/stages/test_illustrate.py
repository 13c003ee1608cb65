import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from model_samples import described
from track_samples import METHOD_PARAMS, PARAMS, write_tracks

from fabnet.pretext import fabnet, fabnet_sources
from stages import illustrate
from stages.reporting import figures
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import IllustrateParams
from stages.storage import media, shards
from stages.training import models
from stages.training.trackset import TrackSource

SIZE_PX, COUNT, DIMS = 32, 9, 4
METHODS = ["fabnet", "fabnet_sources", "random"]
SHOWN = {"rows": 3, "neighbours": 2}


def write_model(folder: Path, module: Any, **more: Any) -> None:
    settings = {**METHOD_PARAMS, **more}
    name = module.__name__.rsplit(".", 1)[-1]
    net = models.build(module, module.Params(**settings), seed=3, size_px=SIZE_PX)
    models.save(folder / f"{name}-3", described(name, settings), net)


def write_faces(root: Path, dataset: str = "affectnet", test: int = COUNT) -> None:
    """Pictures of one grey level each, `test` of them in the test split; the embedding turns with their number."""
    rows: list[dict[str, Any]] = []
    with shards.ShardWriter(root / "faces" / dataset / "00000.tar") as writer:
        for number in range(COUNT):
            data = media.encode_jpeg(np.full((16, 16, 3), 20 * number, np.uint8), 95)
            offset = writer.add(f"{number}.jpg", data)
            rows.append({"sample_id": f"{number}", "shard": "00000.tar", "offset": offset, "size": len(data)})
    tables.write(root / "faces" / dataset / "index.parquet", tables.FACES, rows, key=["sample_id"])
    splits = [{"sample_id": f"{n}", "group_id": f"{n}", "split": "test" if n < test else "train"} for n in range(COUNT)]
    tables.write(root / "splits" / "faces" / f"{dataset}.parquet", tables.SPLITS, splits, key=["sample_id"])
    for method in ("fabnet", "random"):
        angle = np.linspace(0, 2 * np.pi, COUNT, endpoint=False)
        vectors = 5 + np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        found = [{"sample_id": f"{n}", "embedding": vector} for n, vector in enumerate(vectors)]
        tables.write(root / "embeddings" / f"{method}-3" / f"{dataset}.parquet", tables.EMBEDDINGS, found,
                     key=["sample_id"])  # fmt: skip


def write_inputs(root: Path, **tracks: Any) -> Path:
    write_tracks(root, **tracks)
    (root / "splits" / "tracks").mkdir(parents=True)
    (root / "splits" / "voxceleb1.parquet").rename(root / "splits" / "tracks" / "voxceleb1.parquet")
    write_faces(root)
    write_model(root / "models", fabnet)
    write_model(root / "models", fabnet_sources, sources=2)
    return root


def run(root: Path, out: str = "out", *, seed: int = 1, **changes: Any) -> Path:
    settings: dict[str, Any] = {
        "seeds": [3, 4],
        "methods": METHODS,
        "track_sets": ["voxceleb1"],
        "face_sets": ["affectnet"],
        "jitter_px": PARAMS["jitter_px"],
        "illustrate": IllustrateParams(seed=seed, **SHOWN),
    }
    names = ("tracks", "faces", "splits", "models", "embeddings")
    illustrate.run(**{name: root / name for name in names}, out=root / out, **{**settings, **changes})
    return root / out


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def drawn(inputs: Path) -> Path:
    return run(inputs)


def images(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "images").iterdir())}


def rejects(out: Path) -> list[tuple[str, str, str]]:
    rows = tables.read(out / "rejects.parquet", tables.REJECTS).to_pylist()
    return [(row["dataset"], row["key"], row["kind"]) for row in rows]


def test_every_figure_is_a_png_and_a_second_run_gives_the_same_bytes(inputs: Path, drawn: Path):
    found = images(drawn)
    assert list(found) == ["confidence.png", "neighbours.png", "warp.png"]
    for data in found.values():
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert 300 < min(image.shape[:2]) < max(image.shape[:2]) < 1500
    assert rejects(drawn) == []
    assert images(run(inputs, "again")) == found


def test_another_seed_shows_other_samples(inputs: Path, drawn: Path):
    first, second = images(drawn), images(run(inputs, "other", seed=2))
    assert all(first[name] != second[name] for name in first)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (["random"], ["neighbours.png"]),
        (["fabnet_sources"], ["confidence.png"]),
        (["fabnet"], ["neighbours.png", "warp.png"]),
        (["rotation"], []),
    ],
)
def test_figures_of_methods_that_are_not_configured_are_left_out(
    inputs: Path, drawn: Path, methods: list[str], expected: list[str]
):
    shutil.copytree(drawn, inputs / "some", dirs_exist_ok=True)
    out = run(inputs, "some", methods=methods)  # figures of the run before are gone
    assert list(images(out)) == expected
    assert rejects(out) == []


def test_tracks_too_short_for_a_figure_are_a_reject(tmp_path: Path):
    out = run(write_inputs(tmp_path, frames=2))
    assert list(images(out)) == ["neighbours.png", "warp.png"]
    assert rejects(out) == [("voxceleb1", "confidence.png", "too few tracks")]


def test_too_few_images_for_neighbours_are_a_reject(tmp_path: Path):
    root = write_inputs(tmp_path)
    write_faces(root, test=2)
    out = run(root)
    assert list(images(out)) == ["confidence.png", "warp.png"]
    assert rejects(out) == [("affectnet", "neighbours.png", "too few images")]


def test_a_missing_model_is_a_user_error(inputs: Path):
    with pytest.raises(UserError, match=r"model\.safetensors is missing: run `dvc repro pretrain`"):
        run(inputs, "refused", seeds=[4])
    assert not (inputs / "refused").exists()


def test_a_damaged_image_is_a_user_error(tmp_path: Path):
    root = write_inputs(tmp_path)
    path = root / "faces" / "affectnet" / "00000.tar"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(UserError, match=r"face \d in 00000\.tar: not an image"):
        run(root)


def retrieved(root: Path, params: IllustrateParams) -> list[figures.Retrieved]:
    folders = {method: root / "embeddings" / f"{method}-3" for method in ("fabnet", "random")}
    splits = root / "splits" / "faces" / "affectnet.parquet"
    return illustrate._neighbours(root / "faces" / "affectnet", splits, folders, params, [])


def level(image: np.ndarray) -> int:
    return round(float(image.mean()) * 255 / 20)


def test_nearest_neighbours_on_a_circle_are_adjacent_points(inputs: Path):
    for row in retrieved(inputs, IllustrateParams(seed=1, rows=COUNT, neighbours=2)):
        at = level(row.query)
        for found in row.nearest.values():
            assert {level(image) for image, _ in found} == {(at - 1) % COUNT, (at + 1) % COUNT}
            assert [cosine for _, cosine in found] == pytest.approx([np.cos(2 * np.pi / COUNT)] * 2, abs=1e-5)


def test_neighbours_are_only_from_the_test_split(tmp_path: Path):
    root = write_inputs(tmp_path)
    write_faces(root, test=4)
    rows = retrieved(root, IllustrateParams(seed=1, rows=4, neighbours=3))
    assert all({level(image) for image, _ in row.nearest["fabnet"]} < {0, 1, 2, 3} for row in rows)
    assert all(level(row.query) not in {level(image) for image, _ in row.nearest["fabnet"]} for row in rows)


def test_cosines_are_relative_to_the_mean():
    vectors = np.array([[11.0, 1.0], [9.0, 1.0], [10.0, 3.0], [10.0, -1.0]])
    expected = np.array([[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1]])
    assert illustrate.cosines(vectors, np.arange(len(vectors))) == pytest.approx(expected, abs=1e-12)
    assert (illustrate.cosines(np.ones((3, 2)), np.arange(3)) == 0).all()


def test_the_network_gets_the_target_first_and_the_other_frames_as_sources(inputs: Path):
    sources = TrackSource(inputs / "tracks", inputs / "splits" / "tracks", ["voxceleb1"], PARAMS["jitter_px"])
    params = IllustrateParams(seed=1, **SHOWN)
    rebuilt = illustrate._rebuild(inputs / "models" / "fabnet_sources-3", sources, params, [], "confidence.png")
    assert rebuilt is not None
    samples, mix = rebuilt
    net = models.load(inputs / "models" / "fabnet_sources-3")[0].get_submodule("net")
    assert samples.shape == (3, 3, 3, SIZE_PX, SIZE_PX)
    with torch.inference_mode():
        assert torch.equal(mix.result, net(samples[:, 1:], samples[:, 0]))


def test_a_flow_of_a_tenth_to_the_right_is_red_and_no_flow_is_white():
    flow = np.zeros((4, 4, 2))
    flow[:, :2, 0] = 0.1
    colours = figures._colours(flow, 0.1)
    assert colours[:, :2] == pytest.approx(np.broadcast_to([1.0, 0, 0], (4, 2, 3)))
    assert colours[:, 2:] == pytest.approx(np.ones((4, 2, 3)))
