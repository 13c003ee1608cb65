"""The command line that every stage shares: paths, names and sections of params.yaml in, an exit status out.

The signature of a stage's `run` says it all. Parameters before the `*` are the arguments of its command. A keyword of
type Path is an option, one of type bool a switch that is off. Any other keyword is the section of params.yaml of that
name: one of `lists` if the name is there, or the one that the stage's `SECTIONS` gives it, in which `{dataset}` and
`{method}` are filled from the arguments. These sections are exactly the `params:` of the stage in dvc.yaml (tested).
"""

import argparse
import errno
import inspect
import io
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from stages.runtime import config, limits, starter, stopwatch, workers
from stages.runtime.errors import UserError
from stages.runtime.files import DISK_FAILS, replace_text
from stages.runtime.params import Lists, Params

LISTS = {name: f"lists.{name}" for name in Lists.model_fields}
KEYWORD = inspect.Parameter.KEYWORD_ONLY
REPORT = "TORCHELASTIC_ERROR_FILE"  # where torchrun reads why one of the processes that it started has failed
FULL = "the disk is full; free some space and run the same command again"
FAILED = "the disk failed: check it, or mount it again, then run the same command again"
REFUSED = "you may not read or write it: change its permissions or its owner, then run the same command again"
DISK = {  # error numbers of disks -> what to tell
    errno.ENOSPC: FULL,
    errno.EDQUOT: "your quota of this disk is used up; free some space and run the same command again",
    errno.EFBIG: "a file would be larger than this disk or `ulimit -f` allows; use another disk or raise the limit",
    errno.EROFS: "the disk is read-only; mount it for writing, or use another folder, and run the same command again",
    **dict.fromkeys(DISK_FAILS, FAILED),
    errno.EACCES: REFUSED,
    errno.EPERM: REFUSED,
}
RESUMABLE = "stopped; finished parts are kept, the same command continues from there"
CLEAN = "stopped; no unfinished file is left"


def main(run: Callable[..., None], doc: str | None, renamed: Mapping[str, str] | None = None) -> None:
    """Parse the command line by the signature of `run`, load its sections, run it.

    Options with a default may be left out. `renamed` maps keywords to sections of another name.
    Exit status: 0 done, 1 a user error, printed as one line, 130 stopped by the user. A stage that DVC started ends
    with DVC; its time and memory are kept in .timings. One of several processes leaves its error and its time to
    torchrun and to whoever called that.
    """
    stage = os.environ.get(stopwatch.STAGE) if REPORT not in os.environ else None
    if stage and not starter.end_with_dvc():
        sys.exit(_say("error: DVC, which started this stage, has ended: run it again", 1))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    run = _by_name(run)
    wanted = sections(run, renamed or {})
    arguments: dict[str, Any] = vars(_parser(run, wanted, doc).parse_args())
    params_file = arguments.pop("_params")
    workers.keep_threads()
    workers.keep_out_pandas()
    watch = stopwatch.Stopwatch()
    status = guarded(lambda: run(**arguments, **_settings(params_file, wanted, arguments)))
    if status == 0 and stage:
        stopwatch.keep(watch.read(), stage)
    sys.exit(status)


def _settings(file: Path, wanted: Mapping[str, str], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The sections for the keywords in `wanted`; from now on the limits of the file hold."""
    params = config.load(file)
    limits.use(params.limits.values)
    return config.sections(params, wanted, **arguments)


def sections(run: Callable[..., None], renamed: Mapping[str, str]) -> dict[str, str]:
    """Keyword of `run` -> the section of params.yaml that it takes; `*` is the whole file."""
    hints = get_type_hints(run)
    keywords = [name for name, parameter in inspect.signature(run).parameters.items() if parameter.kind == KEYWORD]
    return {
        name: "*" if hints[name] is Params else renamed.get(name, LISTS.get(name, name))
        for name in keywords
        if hints[name] not in (Path, bool)
    }


def guarded(work: Callable[[], int | None], stopped: str = RESUMABLE) -> int:
    """Exit status of `work`: its own, 1 for a user error, a line for each thing that is wrong, 130 if stopped."""
    for stream in (sys.stdout, sys.stderr):  # letters that an ASCII locale lacks are written as escapes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return work() or 0
    except UserError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return _say(stopped, 130)
    except OSError as error:
        if error.errno not in DISK:
            raise
        where = f"{error.filename}: " if error.filename and error.errno not in (errno.ENOSPC, errno.EDQUOT) else ""
        return _failed(f"{where}{DISK[error.errno]}")


def _by_name(run: Callable[..., None]) -> Callable[..., None]:
    """`run` of the module as others import it: what it hands to other processes has a name there, not in `__main__`."""
    started = sys.modules["__main__"].__spec__
    if run.__module__ != "__main__" or started is None:
        return run
    return getattr(import_module(started.name), run.__name__)


def _parser(run: Callable[..., None], wanted: Mapping[str, str], doc: str | None) -> argparse.ArgumentParser:
    started = sys.modules["__main__"].__spec__
    read = (name for section in wanted.values() for name in config.COMPOSED.get(section, (section,)))
    parser = argparse.ArgumentParser(
        prog=f"python -m {started.name}" if started else None,
        description=doc,
        epilog=f"parameters: {', '.join('all' if name == '*' else name for name in read)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hints = get_type_hints(run)
    for name, parameter in inspect.signature(run).parameters.items():
        if name in wanted:
            continue
        if hints[name] is bool:
            parser.add_argument(f"--{name.replace('_', '-')}", action="store_true")
        elif hints[name] is Path and parameter.default is inspect.Parameter.empty:
            parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, metavar="PATH")
        elif hints[name] is Path:
            parser.add_argument(f"--{name.replace('_', '-')}", type=Path, default=parameter.default, metavar="PATH",
                                help=f"default: {parameter.default}")  # fmt: skip
        else:
            parser.add_argument(name, type=hints[name])
    parser.add_argument("--params", dest="_params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help="parameter file (default: params.yaml)")  # fmt: skip
    return parser


def _failed(reason: str) -> int:
    """Tell why: torchrun, which tells the first reason of all, or else the user."""
    if report := os.environ.get(REPORT):
        told = {"message": reason, "timestamp": int(time.time())}
        replace_text(Path(report), json.dumps(told))
        return 1
    return _say("\n".join(f"error: {line}" for line in reason.splitlines()), 1)


def _say(sentence: str, status: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(sentence + "\n")
    return status
