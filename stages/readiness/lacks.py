"""Everything that a run needs and lacks, found before its first stage and all at once."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stages.readiness import disk, releases, weights
from stages.readiness.releases import Source
from stages.runtime import config
from stages.runtime.errors import UserError
from stages.runtime.params import Params
from stages.training import gpu_frames


@dataclass(frozen=True)
class Lack:
    """One thing that a run lacks."""

    topic: str  # a data set, a method, `parameters`, `detect`, `pretrain` or `disk`
    sentence: str  # what was expected, what was found, what to do


@dataclass(frozen=True)
class Folders:
    """Where stages write; none of these has to exist."""

    raw: Mapping[str, Path]  # by data set: the release as `fetch` brings it
    cut: Mapping[str, Path]  # by data set: tracks or faces
    journal: Path


def find(params: Params, root: Path, folders: Folders, environment: Mapping[str, str]) -> Iterator[Lack]:
    """What the run of `params` in the folder `root` lacks; wrong settings hide the rest, which would be guesswork."""
    if wrong := _lack("parameters", partial(config.check_plugins, params)):
        yield from wrong
        return
    for topic, check in _weight_checks(params):
        yield from _lack(topic, check)
    fetches = {name: params.dataset[name].fetch for name in params.datasets}
    if params.pretrain.jpeg_decoder == "torchcodec":
        yield from _lack("pretrain", gpu_frames.torchcodec)
    ready: list[Source] = []
    for source in (Source(name, fetch, root / fetch.folder, folders.raw[name]) for name, fetch in fetches.items()):
        lack = _lack(source.dataset, partial(releases.check, source, environment))
        yield from lack
        ready += [] if lack else [source]
    uses = [use for source in ready for use in disk.uses(source, params, folders.cut, folders.journal, environment)]
    yield from _lack("disk", partial(disk.check, root, uses))


def _weight_checks(params: Params) -> Iterator[tuple[str, Callable[[], None]]]:
    """What a sentence is about, and the function that raises it as a UserError."""
    yield "detect", partial(weights.check_detector, params.detect)
    for name in params.methods:
        yield name, partial(weights.check_method, name, params.method[name], params.pretrain.size_px)


def _lack(topic: str, check: Callable[[], object]) -> list[Lack]:
    """What `check` raises; empty if it finds nothing wrong."""
    try:
        check()
    except UserError as error:
        return [Lack(topic, str(error))]
    return []
