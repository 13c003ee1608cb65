"""Write what a person chose into params.yaml: a visible change of a few values, made before anything runs.

All that was not chosen keeps its bytes, comments included. `methods` and `datasets` stand in several lists of the
file: a name goes into the list where the file, or else a profile, has it.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from pipelines.profile import profile_file
from stages.runtime import config
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text
from stages.runtime.params import Params

NAME = re.compile(r"(?!true$|false$|null$)[a-z][a-z0-9_]*")  # YAML takes it for the text that it is
KINDS = ("tracks", "detected", "boxed")


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
    source = profile_file(choice.profile, profiles) if choice.profile else params
    text = chosen(choice, config.load(source), source.read_text(encoding="utf-8"), _all(profiles))
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
    return replaced(text, {name: value for name, value in values.items() if _value(params, name) != value})


def replaced(text: str, values: Mapping[str, Any]) -> str:
    """A YAML text with new values at dotted names that it has; every other byte stays."""
    document = YAML(typ="rt", pure=True).compose(text)
    spans = {name: _span(document, name) for name in values}
    for name, (start, end) in sorted(spans.items(), key=lambda item: -item[1][0]):  # from the end: marks stay right
        text = f"{text[:start]}{_flow(values[name])}{text[end:]}"
    return text


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
    return [config.load(path) for path in sorted(profiles.glob("*.yaml"))]


def _value(params: Params, dotted: str) -> Any:
    value: Any = params
    for part in dotted.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


def _span(node: Node, dotted: str) -> tuple[int, int]:
    """Where the value of a dotted name stands in the text that `node` was composed from."""
    for part in dotted.split("."):
        below = {key.value: value for key, value in node.value} if isinstance(node, MappingNode) else {}
        if part not in below:
            raise UserError(f"params.yaml has no {dotted}: copy it from a file in profiles/")
        node = below[part]
    if isinstance(node, CollectionNode) and not node.flow_style:
        raise UserError(
            f"params.yaml should have {dotted} in one line, in brackets, to be changed here: found it in several"
        )
    return node.start_mark.index, node.end_mark.index


def _flow(value: Any) -> str:
    """One line of YAML; names stay without quotes."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_flow(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    is_name = isinstance(value, str) and NAME.fullmatch(value)
    return value if is_name else json.dumps(value, ensure_ascii=False)


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
