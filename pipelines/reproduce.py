"""Bring the stages of dvc.yaml up to date as a Prefect flow; `dvc repro` does the same without Prefect.

The graph is DVC's own and DVC alone decides what has to run, so both leave the same dvc.lock. Prefect adds
independent stages in parallel, one log per stage, states and tables in its UI. Full logs are in .logs/<time>-<run>/.
When everything is up to date, the command line says so without starting Prefect.
"""

import argparse
import atexit
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pipelines import profile as profiles
from pipelines.dvc import graph
from pipelines.running import server, surroundings
from stages.runtime import command, proxies

STOPPED = "stopped; finished stages are kept, the same command continues from there"


def main(arguments: Sequence[str]) -> int:
    """Command line of the flow; exit status 1 if a stage failed, 130 if stopped by the user."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.reproduce",
        description=__doc__,
        epilog="example: python -m pipelines.reproduce crop detect@affectnet --parallel 4",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", metavar="STAGE",
                        help="a stage (crop@voxceleb1) or all its instances (crop); default: every stage")  # fmt: skip
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="stages at a time (default: 2)")
    parser.add_argument("--force", action="store_true", help="run these stages even if they are up to date")
    options = parser.parse_args(arguments)
    if not 1 <= options.parallel <= 64:
        parser.error("--parallel should be from 1 to 64")
    return command.guarded(lambda: _bring_up_to_date(options), STOPPED)


def _bring_up_to_date(options: argparse.Namespace) -> int:
    if Path("params.yaml").exists():
        profiles.refresh()
    stages = graph.ordered(Path(), options.targets)
    if not options.force and graph.changed(Path()).isdisjoint(stage.name for stage in stages):
        print(f"{len(stages)} stages: all are up to date{_where(stages)}")
        return 0
    _use_server()
    from pipelines.flows.reproduce import reproduce  # noqa: PLC0415  Prefect reads its settings when it is imported

    state = reproduce(targets=options.targets, parallel=options.parallel, force=options.force, return_state=True)
    if state.is_cancelled():
        raise KeyboardInterrupt
    if not state.is_completed():
        print(state.message, file=sys.stderr)
        return 1
    print(f"{state.message}{_where(stages)}")
    return 0


def _where(stages: Sequence[graph.Stage]) -> str:
    """The place of the report, as the end of a sentence; empty if it is not among `stages`."""
    pages = [out for stage in stages if stage.name == "report" for out in stage.outs if out.suffix == ".html"]
    return "".join(f"; report: {os.path.relpath(page)}" for page in pages)


def _use_server() -> None:
    """Let Prefect use the server of `PREFECT_API_URL`, or the one that `make ui` runs, or else a temporary one."""
    if os.environ.get("PREFECT_API_URL"):
        proxies.check()
        os.environ.update(surroundings.direct())
        return
    running = ExitStack()
    atexit.register(running.close)  # after Prefect has sent its last lines
    url = running.enter_context(server.for_one_run(Path()))
    server.use(url)
    print(f"Prefect UI: {url}{server.PAGES}/", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an ordinary exit, which stops the temporary server
    sys.exit(main(sys.argv[1:]))
