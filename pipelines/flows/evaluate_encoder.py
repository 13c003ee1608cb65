"""Evaluate an encoder from a file beside the methods of this project, as a Prefect flow."""

from typing import Annotated, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed
from pydantic import Field

from pipelines.flows.choices import Choice
from pipelines.flows.forms import Parallel
from pipelines.flows.stage_tasks import RUNNER, run_stages
from stages.runtime import supplied
from stages.runtime.errors import UserError

Channels = Annotated[list[float], Field(min_length=3, max_length=3)]


@flow(name="evaluate an encoder", task_runner=RUNNER)
def evaluate(
    *,
    weights: str,
    weights_sha256: str = "",
    kind: Literal["torchscript", "export", "timm"] = "torchscript",
    name: str = "",
    size_px: Annotated[int, Field(ge=8, le=1024)] = 224,
    mean: Channels = [0.5, 0.5, 0.5],  # noqa: B006  read only
    std: Channels = [0.5, 0.5, 0.5],  # noqa: B006  read only
    parallel: Parallel = 2,
) -> State[str]:
    """Write an encoder to params.yaml as the method `own`, embed and probe with it, and bring the report up to date.

    Args:
        weights: path of the file.
        weights_sha256: its digest, which says that you trust the code in it; if empty, the run fails and shows it.
        kind: how the file was saved: by torch.jit.save, by torch.export.save, or weights of a timm model.
        name: the name of the timm model; empty for other kinds.
        size_px: side of the images that the encoder expects.
        mean: subtracted from red, green and blue, which lie between 0 and 1.
        std: red, green and blue are divided by it after that.
        parallel: stages at a time.
    """
    own = {"weights": weights, "weights_sha256": weights_sha256, "kind": kind, "name": name,
           "size_px": size_px, "mean": mean, "std": std}  # fmt: skip
    try:
        supplied.check(weights, weights_sha256, "method.own.weights", "a TorchScript, torch.export or timm file")
    except UserError as error:
        return Failed(message=str(error))
    return run_stages(["report"], parallel=parallel, choice=Choice(more_methods=["own"], own=own))
