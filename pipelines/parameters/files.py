"""Parameter files on disk: read, keep a copy, bring the lists up to date."""

import itertools
from pathlib import Path

from pipelines.parameters import edits
from stages.runtime import config
from stages.runtime.errors import UserError
from stages.runtime.files import replace_bytes, replace_text


def read(path: Path) -> str:
    """The text of a parameter file; empty if there is none.

    Raises:
        UserError: it is no text.
    """
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None


def keep(path: Path) -> Path:
    """A copy of the file beside it, under a name that no other text has."""
    data = path.read_bytes()
    names = (f"{path.name}.before{f'-{number}' if number > 1 else ''}" for number in itertools.count(1))
    copy = next(copy for copy in map(path.with_name, names) if not copy.exists() or copy.read_bytes() == data)
    replace_bytes(copy, data)
    return copy


def refresh(path: Path) -> bool:
    """Bring the lists of a parameter file up to date; whether they had to change.

    Raises:
        UserError: there is no such file, or something in it is wrong.
    """
    found = read(path)
    if not found:
        raise UserError(f"{path} is missing: {config.CHOOSE}")
    new = edits.with_lists(found, str(path))
    if new != found:
        replace_text(path, new)
    return new != found
