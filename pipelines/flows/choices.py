"""Write what a person chose into params.yaml: a visible change of a few values, made before anything runs.

All that was not chosen keeps its bytes, comments included, but for the lists that follow from `methods` and `datasets`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines import profile
from pipelines.parameters import edits, files
from stages.runtime import config
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text


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


@dataclass(frozen=True)
class Change:
    """What became of params.yaml."""

    difference: str = ""  # a unified diff; empty if nothing changed
    kept: str = ""  # name of the copy of an edited file that a profile replaced


def write(choice: Choice, params: Path, profiles: Path) -> Change:
    """Put `choice` into the file `params`, whole or not at all, and bring its lists up to date.

    Raises:
        UserError: the file or the choice is wrong; then the file stays as it was.
    """
    before = files.read(params)
    if not before and not any(vars(choice).values()):
        return Change()
    source = profile.written(choice.profile, profiles) if choice.profile else before
    if not source:
        raise UserError(f"{params.name} is missing: {config.CHOOSE}")
    text = edits.with_lists(chosen(choice, source, params.name), params.name)
    config.check_plugins(config.parsed(text, params.name))
    if text == before:
        return Change()
    kept = files.keep(params).name if choice.profile and profile.edits_of(before, profiles) else ""
    replace_text(params, text)
    return Change("\n".join(edits.difference(before, text, "params.yaml before", "params.yaml now")), kept)


def chosen(choice: Choice, text: str, name: str) -> str:
    """The text of a parameter file with the values of `choice` in their places."""
    settings = config.settings(text, name)
    methods = list(dict.fromkeys([*(choice.methods or settings.methods), *choice.more_methods]))
    wanted: dict[str, tuple[Any, Any]] = {  # value now, value wanted
        "methods": (settings.methods, methods),
        "datasets": (settings.datasets, list(choice.datasets) or settings.datasets),
        "seeds": (settings.seeds, list(choice.seeds) or settings.seeds),
    }
    own = settings.method.get("own", {})
    wanted |= {f"method.own.{key}": (own.get(key), value) for key, value in choice.own.items()}
    return edits.replaced(text, {key: new for key, (now, new) in wanted.items() if new != now}, name)
