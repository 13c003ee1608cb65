"""The flows that can be started from Prefect's UI, served from this folder: `python -m pipelines.deployments`.

Needs the URL of a running server in PREFECT_API_URL; `make ui` starts both. Runs are child processes.
"""

import argparse
import os
import sys
from pathlib import Path

from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType
from prefect.variables import Variable

from pipelines.dvc import graph
from pipelines.flows import pages
from pipelines.flows.embed_videos import embed_videos
from pipelines.flows.evaluate_encoder import evaluate
from pipelines.flows.fetch import fetch
from pipelines.flows.reproduce import reproduce
from pipelines.running import surroundings
from stages.reporting import machine
from stages.runtime import command, proxies
from stages.runtime.errors import UserError

NIGHTLY = Cron("0 2 * * *", active=False)  # off until someone turns it on in the UI; local time of the server


def deployments() -> list[RunnerDeployment]:
    """All that can be started from the UI, in the order of docs/prefect-ui.md."""
    flows = {
        "reproduce": (reproduce, "Bring the pipeline up to date, with other parameters if you choose some", [NIGHTLY]),
        "fetch only": (fetch, "Download or link the releases of data sets, train nothing", []),
        "evaluate an encoder": (evaluate, "Evaluate your own encoder beside the methods of the project", []),
        "embed videos": (embed_videos, "Embeddings of the faces in your own videos and images", []),
    }
    return [
        flow.to_deployment(name, description=text, schedules=schedules, entrypoint_type=EntrypointType.MODULE_PATH)
        for name, (flow, text, schedules) in flows.items()
    ]


def html_pages(root: Path) -> dict[str, Path]:
    """The pages among the outputs of all stages and the machine page beside each, by file name."""
    outs = (out for stage in graph.ordered(root) for out in stage.outs)
    found = [out for out in outs if out.suffix == ".html"]
    return {page.name: page for out in found for page in (out, out.with_name(machine.NAME))}


def main() -> None:
    """Serve until stopped.

    Raises:
        UserError: no server, or no pipeline.
    """
    if PREFECT_API_URL.value() is None:
        raise UserError("PREFECT_API_URL should be the URL of a Prefect server: start one with `make ui`")
    proxies.check()
    os.environ.update(surroundings.direct())
    with pages.served(html_pages(Path())) as url:
        Variable.set(pages.URL, url, overwrite=True)
        serve(*deployments(), pause_on_shutdown=False, print_starting_message=False)


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m pipelines.deployments", description=__doc__).parse_args()
    sys.exit(command.guarded(main))
