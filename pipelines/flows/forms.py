"""Types of the fields in the forms of Prefect's UI: names to choose from instead of free text."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.flows.stage_tasks import PROFILES
from stages.runtime import plugins

UNCHANGED = "as in params.yaml"

Profile = Literal[(UNCHANGED, *sorted(path.stem for path in PROFILES.glob("*.yaml")))]
Method = Literal[tuple(plugins.names("fabnet.pretext"))]
DataSet = Literal[tuple(plugins.names("stages.datasets"))]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Parallel = Annotated[int, Field(ge=1, le=64)]
