"""Edits in the text of a parameter file that keep every other byte: new values, and the lists that follow from them."""

import difflib
import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, SequenceNode

from stages.runtime import config, lists
from stages.runtime.errors import UserError

LISTS = "lists"
HEAD = f"{LISTS}:                        # written by `make profile`, `make repro` and `make flow`, from what is above"


def replaced(text: str, values: Mapping[str, Any], name: str = "params.yaml") -> str:
    """A YAML text with new values at dotted names that it has; every other byte stays.

    A list with a line for each item stays one, and the lines of items that stay are kept with their comments.

    Raises:
        UserError: the text does not have one of the names, or a map in several lines there; `name` is the file that
            the sentence is about.
    """
    document = YAML(typ="rt", pure=True).compose(text)
    nodes = [(_node(document, dotted, name), value) for dotted, value in values.items()]
    for node, value in sorted(nodes, key=lambda each: -each[0].start_mark.index):  # from the end: marks stay right
        if isinstance(node, SequenceNode) and not node.flow_style:
            start, end, new = _items(text, node, value)
        else:
            start, end, new = node.start_mark.index, _end(node), _in_one_line(value)
        text = f"{text[:start]}{new}{text[end:]}"
    return text


def with_lists(text: str, name: str = "params.yaml") -> str:
    """A parameter file with the lists that follow from what a person wrote; the same text if it has them already.

    Raises:
        UserError: something in it is wrong; `name` is the file that the sentence is about.
    """
    expected = lists.derived(config.settings(text, name)).model_dump()
    if config.content(text, name).get(LISTS) == expected:
        return text
    return f"{without_lists(text)}\n{_written(expected)}"


def without_lists(text: str) -> str:
    """A parameter file as a person writes it, with one line end at the end."""
    lines, kept, inside = text.splitlines(), list[str](), False
    for line in lines:
        inside = line.startswith(f"{LISTS}:") or (inside and line.startswith((" ", "-")))
        if not inside:
            kept.append(line)
    return "\n".join(kept).rstrip("\n") + "\n"


def difference(before: str, after: str, name_before: str, name_after: str) -> list[str]:
    """Lines of a unified diff without context, without their line ends."""
    return list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), name_before, name_after, n=0, lineterm="")
    )


def _written(values: Mapping[str, Any]) -> str:
    stream = io.StringIO()
    YAML().dump({LISTS: values}, stream)
    return stream.getvalue().replace(f"{LISTS}:", HEAD, 1)


def _node(node: Node, dotted: str, name: str) -> Node:
    for key in dotted.split("."):
        below = {entry.value: value for entry, value in node.value} if isinstance(node, MappingNode) else {}
        if key not in below:
            raise UserError(f"{name}: {dotted} is not among the parameters: copy it from profiles/sample.yaml")
        node = below[key]
    if isinstance(node, MappingNode) or _end(node) == node.start_mark.index:
        raise UserError(f"{name}: {dotted} should be one value or a list, so that it can be changed")
    return node


def _items(text: str, node: SequenceNode, values: Sequence[Any]) -> tuple[int, int, str]:
    """Start and end of the lines of a list, and its new lines."""
    starts = [text.rindex("\n", 0, item.start_mark.index) + 1 for item in node.value]
    ends = [text.find("\n", _end(item)) % (len(text) + 1) for item in node.value]
    lines = {
        text[start:end].partition("#")[0].strip(): text[start:end] for start, end in zip(starts, ends, strict=True)
    }
    indent = text[starts[0] :].partition("-")[0]
    new = [f"- {_in_one_line(value)}" for value in values]
    return starts[0], ends[-1], "\n".join(lines.get(line, indent + line) for line in new) or f"{indent}  []"


def _end(node: Node) -> int:
    """Where the text of a value ends; the end of a list in several lines is that of its last item."""
    is_open = isinstance(node, CollectionNode) and not node.flow_style
    return _end(node.value[-1]) if is_open else node.end_mark.index


def _in_one_line(value: Any) -> str:
    """YAML as ruamel, and so DVC, writes it."""
    yaml, stream = YAML(), io.StringIO()
    yaml.width, yaml.default_flow_style = sys.maxsize, True
    yaml.dump([value], stream)
    return stream.getvalue().strip()[1:-1]
