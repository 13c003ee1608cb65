from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from stages.evaluation import columns, labelled
from stages.evaluation.labelled import Images, Task
from stages.runtime import plugins, tables
from stages.runtime.errors import UserError
from stages.runtime.params import TaskParams

IDS = ["a", "b", "c", "d", "e", "f"]
UNITS = pa.list_(pa.int8())


def joined(labels: list[Any], kind: pa.DataType) -> pa.Table:
    """A row for each label; embeddings count up."""
    ids = IDS[: len(labels)]
    return pa.table({
        "sample_id": ids,
        "group_id": ["g", "h", "g", "k", "k", "h"][: len(ids)],
        "subset": ["x", None] * (len(ids) // 2),
        "split": ["train", "val"] * (len(ids) // 2),
        "width_px": pa.array([256] * len(ids), pa.int32()),
        "height_px": pa.array([128] * len(ids), pa.int32()),
        "crop_xyxy_px": pa.array([[1.0, 2.0, 3.0, 4.0]] * len(ids), pa.list_(pa.float32(), 4)),
        "embedding": pa.array([[n, n + 0.5] for n in range(len(ids))], pa.list_(pa.float32())),
        "label": pa.array(labels, kind),
    })  # fmt: skip


def usable(table: pa.Table, probe: str, metric: Any, classes: list[str]) -> tuple[Images, dict[str, tuple[str, str]]]:
    """The images, and kind and detail of the others."""
    settings = TaskParams(probe=probe, label="label", metrics=[metric], classes=classes)
    task = Task("faces", "task", settings, plugins.load("fabnet.probes", probe))
    rejects = tables.Rejects("probe")
    images = labelled.usable(table, task, rejects, torch.device("cpu"))
    return images, {row["key"]: (row["kind"], row["detail"]) for row in rejects.rows}


def test_rows_without_split_or_embedding_are_left_out_whatever_the_order_of_the_tables():
    index = pa.table({"sample_id": ["c", "a", "b", "d"], "group_id": ["c", "a", "b", "d"], "label": [3, 1, 2, 4]})
    splits = pa.table({"sample_id": ["d", "c", "a"], "group_id": ["d", "a", "a"], "split": ["test", "val", "train"]})
    embeddings = pa.table({"sample_id": ["b", "a", "c"], "embedding": [[2.0], [1.0], [3.0]]})
    assert labelled.join(index, splits, embeddings).to_pylist() == [
        {"sample_id": "a", "label": 1, "group_id": "a", "split": "train", "embedding": [1.0]},
        {"sample_id": "c", "label": 3, "group_id": "a", "split": "val", "embedding": [3.0]},
    ]


def test_every_image_is_used_or_a_reject_with_its_first_problem():
    labels = [[0, 1, None], None, [0, 1], [None, None, None], [1, 1, 2], [1, 0, 1]]
    images, rejects = usable(joined(labels, UNITS), "action_units", "f1", ["x", "y", "z"])
    assert rejects == {
        "task/b": ("no label", ""),
        "task/c": ("expected 3 action units", "found 2"),
        "task/d": ("no action unit is known", ""),
        "task/e": ("an action unit is neither 0 nor 1 nor unknown", ""),
    }
    assert images.ids.to_pylist() == ["a", "f"]
    assert images.y.tolist() == [[0, 1, -1], [1, 0, 1]]
    assert images.subset.tolist() == ["x", ""]
    assert images.crops.source_xyxy_px.tolist() == [[1, 2, 3, 4]] * 2
    assert images.samples("val").x.tolist() == [[5.0, 5.5]]
    assert images.samples("val").x.dtype == torch.float64


def test_a_part_of_a_table_is_read_as_that_part():
    table = pa.concat_tables([joined([0, 1, 2, 1], pa.int8()), joined([2, None], pa.int8())]).slice(1, 4)
    images, rejects = usable(table, "classes", "auc", ["x", "y", "z"])
    assert rejects == {}
    assert images.y.argmax(1).tolist() == [1, 2, 1, 2]
    assert images.embeddings("val").tolist() == [[1.0, 1.5], [3.0, 3.5]]


def test_labels_of_two_usable_lengths_are_a_user_error():
    five, sixty_eight = np.arange(10.0).tolist(), np.arange(136.0).tolist()
    table = joined([five, sixty_eight], pa.list_(pa.float32()))
    with pytest.raises(
        UserError, match="faces task: the labels of all images should have as many values, found 10 and"
    ):
        usable(table, "points", "interocular_percent", [])


def test_rows_have_the_same_code_where_all_columns_are_equal():
    identity, video = pa.chunked_array([["p", "q"], ["p", "q"]]), pa.chunked_array([["1", "1", "2", "1"]])
    found = columns.codes(identity, video)
    assert [found[0] == other for other in found] == [True, False, False, False]
    assert found[1] == found[3]
