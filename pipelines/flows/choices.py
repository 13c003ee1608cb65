"""Write what a person chose into params.yaml: a visible change of a few values, made before anything runs.

All that was not chosen keeps its bytes, comments included. `methods` and `datasets` stand in several lists of the
file: a name goes into the list where the file, or else a profile, has it.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines import profile
from stages.runtime import config
from stages.runtime.files import replace_text
from stages.runtime.params import Params

KINDS = ("track_sets", "detected_sets", "boxed_sets")


@dataclass(frozen=True)
class Choice:
    """What should be in force; whatever is empty stays as it is in params.yaml."""

    profile: str = ""
    methods: Sequence[str] = ()
    datasets: Sequence[str] = ()
    seeds: Sequence[int] = ()
    more_methods: Sequence[str] = ()  # that should be among the methods, at the end if they are not yet
    own: Mapping[str, Any] = field(default_factory=dict[str, Any])  # settings of `method.own`


NOTHING = Choice()


def write(choice: Choice, params: Path, profiles: Path) -> str:
    """Put `choice` into the file `params`, whole or not at all; the change as a unified diff, empty if there is none.

    Raises:
        UserError: the file or the choice is wrong; then the file stays as it was.
    """
    if not any(vars(choice).values()):
        return ""
    before = params.read_text(encoding="utf-8") if params.exists() else ""
    if choice.profile:
        source = profile.text(choice.profile, profiles)
        current = config.parsed(source, params.name)
    else:
        source, current = before, config.load(params)
    text = chosen(choice, current, source, _all(profiles))
    config.check_plugins(config.parsed(text, params.name))
    if text == before:
        return ""
    replace_text(params, text)
    return "".join(difflib.unified_diff(_lines(before), _lines(text), "params.yaml before", "params.yaml now", n=0))


def chosen(choice: Choice, params: Params, text: str, profiles: Sequence[Params]) -> str:
    """`text`, which holds `params`, with the values of `choice` in their places."""
    values: dict[str, Any] = {"seeds": list(choice.seeds)} if choice.seeds else {}
    methods = list(dict.fromkeys([*(choice.methods or params.methods), *choice.more_methods]))
    if choice.methods or choice.more_methods:
        refined = _listed("refined", [params, *profiles]) - set(params.pretrained)
        values["methods"] = methods
        values["pretrained"] = [name for name in methods if name not in refined]
        values["refined"] = [name for name in methods if name in refined]
    if choice.datasets:
        values |= _of_datasets(choice.datasets, params, profiles)
    if choice.own:
        values["method.own"] = {**params.method.get("own", {}), **choice.own}
    return profile.replaced(text, {name: value for name, value in values.items() if _value(params, name) != value})


def _of_datasets(datasets: Sequence[str], params: Params, profiles: Sequence[Params]) -> dict[str, list[str]]:
    kinds = {kind: _listed(kind, [params]) for kind in KINDS}
    known = set[str]().union(*kinds.values())
    kinds = {kind: names | (_listed(kind, profiles) - known) for kind, names in kinds.items()}
    values = {
        "datasets": list(datasets),
        "embed.followed": [name for name in params.embed.followed if name in datasets],
    }
    return values | {kind: [name for name in datasets if name in names] for kind, names in kinds.items()}


def _listed(name: str, several: Iterable[Params]) -> set[str]:
    return set[str]().union(*(getattr(params, name) for params in several))


def _all(profiles: Path) -> list[Params]:
    return [config.parsed(profile.text(name, profiles), name) for name in profile.names(profiles)]


def _value(params: Params, dotted: str) -> Any:
    value: Any = params
    for part in dotted.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
