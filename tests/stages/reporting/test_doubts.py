from typing import Any

from stages.evaluation import collapse
from stages.evaluation.labelled import SAME_LABELS
from stages.reporting import doubts


def reject(kind: str, key: str, detail: str, method: str = "fabnet", dataset: str = "affectnet") -> dict[str, Any]:
    return {"kind": kind, "key": key, "detail": detail, "method": method, "seed": 0, "dataset": dataset}


def copy(sample: str, bits: int, *, is_same: bool = False, dataset: str = "emotionet") -> dict[str, Any]:
    of = {"copy_of": f"of-{sample}", "copy_split": "train", "bits": bits, "is_same": is_same}
    return {"dataset": dataset, "sample_id": sample, **of}


def row(dataset: str, *, groups: int, target: str = "mean", low: float = float("nan")) -> dict[str, Any]:
    return {"dataset": dataset, "task": "landmarks", "split": "test", "target": target, "groups": groups, "ci_low": low}


def said(rejects: list[dict[str, Any]], copies: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[str]:
    return [sentence.striptags() for sentence in doubts.sentences(rejects, copies, rows)]


def test_nothing_doubtful_says_nothing():
    assert said([], [], [row("w300", groups=40, low=1.0)]) == []


def test_labels_of_one_class_are_told_once_for_all_methods():
    rejects = [
        reject(SAME_LABELS, f"expression/{split}", "60 images of the class happy", method)
        for method in ("fabnet", "random")
        for split in ("train", "test")
    ]
    start = "All labels of affectnet expression are the same in train (60 images of the class happy)"
    end = ": nothing is learnt from them or told apart"
    assert said(rejects[:1], [], []) == [f"{start}{end}."]
    assert said(rejects, [], []) == [
        f"{start}, test (60 images of the class happy){end}; what needs two classes is left out."
    ]


def test_collapsed_embeddings_are_told_of_each_method():
    rejects = [reject(collapse.KIND, "embedding", "the effective rank is 1.0, below 3", "own", name) for name in "ab"]
    assert said(rejects, [], []) == [
        "The embeddings of own, seed 0, have collapsed on a, b: the effective rank is 1.0, below 3."
    ]


def test_copies_are_counted_per_data_set():
    copies = [copy("<i>", 3), copy("b", 0, is_same=True), copy("c", 9, dataset="w300")]
    assert said([], copies, []) == [
        "2 test images of emotionet are in training or validation as well, 1 as the same file. Which",
        "1 test image of w300 is in training or validation as well, 0 as the same file. Which",
    ]
    counts = [{"dataset": name, "split": "test", "images": 50} for name in ("emotionet", "w300")]
    first, second = doubts.table(copies, counts)
    assert (first["copies"], first["same"], first["tested"]) == (2, 1, 50)
    assert first["examples"] == [("b", "of-b", "train"), ("<i>", "of-<i>", "train")]
    assert second["dataset"] == "w300"


def test_values_over_one_image_or_group_are_named_as_without_interval():
    rows = [row(name, groups=1) for name in "abcde"] + [row("f", groups=1, target="happy"), row("g", groups=2, low=1.0)]
    assert said([], [], rows) == [
        "No interval on a landmarks, b landmarks, c landmarks and 2 more: the result is over one image, group or "
        "identity, which says nothing about others."
    ]
