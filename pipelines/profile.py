"""Profiles: complete sets of parameters. `check` checks params.yaml, `use NAME` writes it from a profile.

A profile is a whole parameter file, or names another one under `based_on` and holds only the values that differ.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from stages.runtime import command, config
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text

BASE = "based_on"
NAME = re.compile(r"(?!true$|false$|null$)[a-z][a-z0-9_]*")  # YAML reads it as the text that it is
USAGE = "usage: python -m pipelines.profile check | use NAME"


def names(profiles: Path = Path("profiles")) -> list[str]:
    """All profiles, sorted."""
    return sorted(path.stem for path in profiles.glob("*.yaml"))


def text(name: str, profiles: Path = Path("profiles")) -> str:
    """The whole parameter file of a profile: that of its base with its own values and its own first line.

    Raises:
        UserError: no such profile, not YAML, or a value that its base does not have.
    """
    own, values = _read(name, profiles)
    if BASE not in values:
        return own
    base, of_base = _read(values.pop(BASE), profiles)
    if BASE in of_base:
        raise UserError(f"profile {name}: {BASE} should name a whole profile, found one that is based on another")
    title, rest = own.splitlines(keepends=True)[0], base.splitlines(keepends=True)[1:]
    return replaced(title + "".join(rest), dict(_leaves(values)), f"profile {name}")


def _read(name: str, profiles: Path) -> tuple[str, dict[str, Any]]:
    """The file of a profile as it is, and what it holds."""
    if name not in names(profiles):
        raise UserError(f"no profile {name!r}: expected one of {', '.join(names(profiles))}")
    text = (profiles / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        return text, dict(YAML(typ="safe").load(text))
    except (YAMLError, TypeError, ValueError) as error:
        raise UserError(f"profile {name} is not valid YAML: {' '.join(str(error).split())}") from None


def use(name: str, profiles: Path = Path("profiles"), target: Path = Path("params.yaml")) -> None:
    """Write `target` from a profile; a file that is the same already is left alone.

    Raises:
        UserError: no such profile, or one with a wrong parameter.
    """
    new = text(name, profiles)
    config.check_plugins(config.parsed(new, f"profile {name}"))
    if not target.exists() or target.read_text(encoding="utf-8") != new:
        replace_text(target, new)
        sys.stdout.write(f"params.yaml now holds the profile {name!r}\n")


def replaced(text: str, values: Mapping[str, Any], name: str = "params.yaml") -> str:
    """A YAML text with new values at dotted names that it has; every other byte stays.

    Raises:
        UserError: the text does not have one of the names, or has its value in several lines; `name` is the file
            that the sentence is about.
    """
    document = YAML(typ="rt", pure=True).compose(text)
    spans = {dotted: _span(document, dotted, name) for dotted in values}
    for dotted, (start, end) in sorted(spans.items(), key=lambda item: -item[1][0]):  # from the end: marks stay right
        text = f"{text[:start]}{_flow(values[dotted])}{text[end:]}"
    return text


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of everything that is not a map."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _span(node: Node, dotted: str, name: str) -> tuple[int, int]:
    """Start and end of the value of a dotted name in the text that `node` was composed from."""
    for key in dotted.split("."):
        below = {entry.value: value for entry, value in node.value} if isinstance(node, MappingNode) else {}
        if key not in below:
            raise UserError(f"{name}: {dotted} is not among the parameters: copy it from profiles/sample.yaml")
        node = below[key]
    if isinstance(node, CollectionNode) and not node.flow_style:
        raise UserError(
            f"{name}: {dotted} should stand in one line, in brackets, so that it can be changed: found several lines"
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


def main(arguments: list[str]) -> None:
    """Command line: `check` or `use NAME`."""
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(f"{USAGE}\n\n{__doc__}")
    elif arguments == ["check"]:
        params = config.check(Path("params.yaml"))
        digest = config.digest(params)
        sys.stdout.write(f"params.yaml is complete: profile {params.profile}, configuration {digest}\n")
    elif len(arguments) == 2 and arguments[0] == "use":
        use(arguments[1])
    else:
        raise UserError(USAGE)


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
