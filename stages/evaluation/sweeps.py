"""The sweep over L2 weights behind every fitted probe: what was tried, what was chosen, and whether that is sound."""

from collections.abc import Sequence
from typing import Any

from fabnet.probe_head import Probe
from stages.evaluation.labelled import TaskName

GAIN = 1e-3  # share of the loss; an end of the sweep that is better by less than this is as good as its neighbour


def rows(probe: Probe, task: TaskName) -> list[dict[str, Any]]:
    """Rows of tables.SWEEPS from the smallest weight to the largest; none for a probe that was not fitted."""
    if probe.l2 is None:
        return []
    tried = sorted(probe.tried.items())
    at_edge = edge([of.val_loss for _, of in tried], [l2 for l2, _ in tried].index(probe.l2))
    return [
        {
            "dataset": task.dataset,
            "task": task.name,
            "l2": l2,
            **of._asdict(),
            "is_chosen": l2 == probe.l2,
            "edge": at_edge if l2 == probe.l2 else "",
        }
        for l2, of in tried
    ]


def is_converged(probe: Probe) -> bool | None:
    """Whether the chosen head is the optimum; None for a probe that has no head."""
    return None if probe.l2 is None else probe.tried[probe.l2].is_converged


def edge(losses: Sequence[float], at: int) -> str:
    """`smallest` or `largest` if the chosen value is the first or the last and its neighbour is worse, else empty.

    Towards either end the loss approaches a level: that of a head that ignores the image, and that of a head without a
    penalty. Where the neighbour is as good within GAIN, that level is reached and no wider sweep finds a better one.
    """
    if len(losses) == 1 or at not in (0, len(losses) - 1):
        return ""
    beside = losses[1 if at == 0 else at - 1]
    return ("smallest" if at == 0 else "largest") if losses[at] < (1 - GAIN) * beside else ""
