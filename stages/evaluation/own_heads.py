"""Probe heads that came with the weights of a method: what they predict for the test images of their task."""

from pathlib import Path

from stages.evaluation import heads, labelled
from stages.evaluation.labelled import Images, Task
from stages.evaluation.scores import Predictions
from stages.runtime import tables


def predictions(embeddings: Path, images: Images, task: Task, rejects: tables.Rejects) -> Predictions | None:
    """Truth and prediction of every test image, in the units of the report; None without a head for this task.

    A head with other outputs or for other embeddings than the task has is a reject.

    Raises:
        UserError: the head cannot be read.
    """
    path = embeddings / "own_heads" / f"{task.dataset}.{task.name}.safetensors"
    if not path.exists():
        return None
    state = heads.read(path, made_by="embed")
    expected, found = (images.y.shape[1], images.x.shape[1]), tuple(state["1.weight"].shape)
    if found != expected:
        detail = f"expected outputs and dimensions {expected}, found {found}"
        task.reject(rejects, "own_head", "the head of the weights does not fit", detail)
        return None
    return labelled.predict(heads.fitted(state, task, images.device), images, "test", task)
