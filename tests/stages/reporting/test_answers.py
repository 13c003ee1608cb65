from typing import Any

import pytest

from stages.evaluation import scores
from stages.reporting import answers
from stages.reporting.comparison import Standing

LANDMARKS = ("w300", "landmarks", "interocular_percent")
EXPRESSION = ("affectnet", "expression", "auc")
IDENTITY = ("voxceleb1", scores.IDENTITY, scores.IDENTITY)
REAL, NOT_REAL = (1.0, 3.0), (-1.0, 3.0)


def standing(
    key: tuple[str, str, str] = LANDMARKS,
    *,
    over: dict[str, tuple[float, float]],
    best: str = "fabnet",
    n: int = 400,
    groups: int | None = None,
    against: list[tuple[float, float]] | None = None,
) -> Standing:
    """`best` is ahead of the others by these intervals, which are positive if that is real."""
    sign = 1 if key[2] == "auc" else -1
    of = dict(zip(("dataset", "task", "metric"), key, strict=True))

    def ahead(interval: tuple[float, float], **more: Any) -> dict[str, Any]:
        low, high = sorted(sign * end for end in interval)
        return {**of, "value": (low + high) / 2, "ci_low": low, "ci_high": high, "n": n, **more}

    row = {**of, "value": 7.8, "ci_low": 7.0, "ci_high": 8.0, "n": n, "groups": groups or n}
    rows = dict.fromkeys((best, *over), row)
    leads = {name: ahead(interval, method=best, control=name) for name, interval in over.items()}
    return Standing(*key, rows, leads, [ahead(interval, control="random") for interval in against or []])


def said(*standings: Standing) -> list[str]:
    (paragraph,) = answers.paragraphs(standings)
    return [sentence.striptags() for sentence in paragraph.sentences]


MEASURE = "error 7.80 % of inter-ocular distance [7.00, 8.00] on 400 images"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            standing(over={"vicreg": REAL, "random": (2.0, 4.0)}),
            f"On landmarks fabnet is best, {MEASURE}; its lead is real: 2.00 [1.00, 3.00] over vicreg and "
            "3.00 [2.00, 4.00] over random.",
        ),
        (
            standing(best="vicreg", over={"pca": REAL, "fabnet": REAL, "contrastive": REAL, "random": REAL}),
            f"On landmarks vicreg is best, {MEASURE}; its lead is real: 2.00 [1.00, 3.00] over pca, "
            "2.00 [1.00, 3.00] over fabnet and 2.00 [1.00, 3.00] over random.",
        ),
        (
            standing(best="rotation", over={"vicreg": REAL}),
            f"On landmarks rotation is best, {MEASURE}; its lead is real: 2.00 [1.00, 3.00] over vicreg.",
        ),
        (
            standing(best="random", over={"fabnet": REAL}),
            f"On landmarks no trained network beats random, the untrained encoder: {MEASURE}; its lead is real: "
            "2.00 [1.00, 3.00] over fabnet.",
        ),
        (
            standing(over={"vicreg": NOT_REAL, "random": REAL}),
            f"On landmarks fabnet and vicreg tie for the best: {MEASURE} for fabnet, and its lead over vicreg, "
            "1.00 [-1.00, 3.00], is not real, but 2.00 [1.00, 3.00] over random is.",
        ),
        (
            standing(best="vicreg", over={"pca": NOT_REAL, "fabnet": REAL, "random": REAL}),
            f"On landmarks vicreg and pca tie for the best: {MEASURE} for vicreg, and its lead over pca, "
            "1.00 [-1.00, 3.00], is not real, but 2.00 [1.00, 3.00] over fabnet and 2.00 [1.00, 3.00] over random are; "
            "so no trained network is shown to beat pca.",
        ),
        (
            standing(best="random", over={"constant": NOT_REAL, "fabnet": REAL}),
            f"On landmarks random and constant tie for the best: {MEASURE} for random, and its lead over constant, "
            "1.00 [-1.00, 3.00], is not real, but 2.00 [1.00, 3.00] over fabnet is; "
            "no trained network beats random and constant.",
        ),
        (
            standing(over={**dict.fromkeys("bcdef", NOT_REAL), "pca": REAL}),
            f"On landmarks fabnet, b, c and 3 more tie for the best: {MEASURE} for fabnet, and its lead over b, "
            "1.00 [-1.00, 3.00], is not real.",
        ),
        (standing(over={}), f"Only fabnet was run; on landmarks it has {MEASURE}."),
        (
            standing(EXPRESSION, over={"random": (0.1, 0.2)}, n=1200),
            "On expression fabnet is best, AUC 7.800 [7.000, 8.000] on 1,200 images; its lead is real: "
            "0.150 [0.100, 0.200] over random.",
        ),
    ],
)  # fmt: skip
def test_a_task_that_decides_something_is_one_sentence(found: Standing, expected: str):
    assert said(found) == [expected]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (standing(over={"random": REAL}, n=29), "landmarks (only 29 images)"),
        (standing(over={}, n=1), "landmarks (only 1 image)"),
        (standing(over={"random": REAL}, groups=29), "landmarks (only 400 images in 29 groups)"),
        (standing(IDENTITY, over={"random": REAL}, n=4), f"{IDENTITY[1].replace('_', ' ')} (only 4 identities)"),
        (standing(over={"vicreg": NOT_REAL, "random": NOT_REAL}), "landmarks (all methods tie, 400 images)"),
        (
            standing(over={"vicreg": REAL, "random": NOT_REAL}, against=[NOT_REAL, NOT_REAL]),
            "landmarks (no method really differs from random, 400 images)",
        ),
        (Standing(*LANDMARKS, {}, {}, []), "landmarks (undefined for every method)"),
    ],
)
def test_a_task_that_decides_nothing_is_named_with_the_reason(found: Standing, reason: str):
    assert said(found) == [f"Nothing is decided on {reason}."]


def test_a_data_set_has_one_sentence_for_all_tasks_that_decide_nothing_after_those_that_do():
    few = standing(("w300", "pose_retrieval", "neighbour_recall"), over={"random": REAL}, n=3)
    first, second = said(few, standing(over={"random": REAL}), few)
    assert first.startswith("On landmarks fabnet is best")
    assert second == "Nothing is decided on pose retrieval (only 3 images) and pose retrieval (only 3 images)."


def test_every_data_set_has_its_paragraph_and_names_are_escaped():
    found = answers.paragraphs([standing(over={"<i>": REAL}), standing(EXPRESSION, over={"random": REAL})])
    assert [paragraph.dataset for paragraph in found] == ["w300", "affectnet"]
    assert "over <code>&lt;i&gt;</code>" in answers.paragraphs([standing(over={"<i>": REAL})])[0].sentences[0]


def test_probes_at_the_edge_of_their_sweep_are_counted_with_what_to_do():
    rows = [{"l2": 1.0, "edge": "largest"}, {"l2": 1e-4, "edge": "smallest"}, {"l2": 0.1, "edge": ""}]
    assert answers.edges(rows[2:]) is None
    text = answers.edges([*rows, rows[0]])
    assert text is not None
    assert text.striptags() == (
        "The L2 regularisation of 3 of 4 probes is at the edge of the sweep (the smallest, 0.0001, in 1 and the "
        "largest, 1, in 2): widen probe.l2."
    )


def test_probes_that_did_not_converge_are_named_with_what_to_do():
    row = {"dataset": "emotionet", "task": "action_units", "method": "random", "is_converged": False}
    fine = row | {"method": "fabnet", "is_converged": True}
    assert answers.unconverged([fine]) is None
    text = answers.unconverged([fine, row, row | {"dataset": "w300", "task": "landmarks"}, row])
    assert text is not None
    assert text.striptags() == (
        "3 of 4 probes did not converge within probe.max_iter steps, on emotionet action units (for random) and "
        "w300 landmarks (for random): their numbers may be off, raise it."
    )
