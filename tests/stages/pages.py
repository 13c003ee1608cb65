"""The code blocks of a page of documentation that name a file in their first line."""

import re
from pathlib import Path

_BLOCK = re.compile(r"^```\w+\n# (?P<name>[\w./-]+\.\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def files(page: Path) -> dict[str, str]:
    """Name of the file -> text of its block, without the line that names it."""
    return {found["name"]: found["text"] for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))}
