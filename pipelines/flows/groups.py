"""What the stages of dvc.yaml are for: five groups, in the order in which the work flows."""

from collections.abc import Iterator

GROUPS = {
    "acquire": ("check", "fetch"),
    "prepare": ("crop", "track", "detect", "index", "split", "measure"),
    "train": ("pretrain", "refine"),
    "evaluate": ("embed", "probe", "perturb", "illustrate"),
    "report": ("report", "package"),
}
GPU = "gpu"  # tag of the stages that train; a limit on this tag in Prefect's UI holds across clones of the repository


def group_of(stage: str) -> str:
    """The group of a stage such as `crop@voxceleb1`; empty if it has none."""
    kind = stage.split("@", maxsplit=1)[0]
    return next((group for group, kinds in GROUPS.items() if kind in kinds), "")


def shown_name(stage: str) -> str:
    """Name of a stage in Prefect's run graph: `prepare: crop@voxceleb1`."""
    group = group_of(stage)
    return f"{group}: {stage}" if group else stage


def tags(stage: str) -> Iterator[str]:
    """Tags to filter the runs of a stage by: its module, its group, and whether it trains."""
    group = group_of(stage)
    yield stage.split("@", maxsplit=1)[0]
    if group:
        yield group
    if group == "train":
        yield GPU
