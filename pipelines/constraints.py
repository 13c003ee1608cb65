"""Write constraints.txt anew from a clean environment: `make constraints`."""

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONSTRAINTS = Path("constraints.txt")


def freeze() -> list[str]:
    """Lines of `pip freeze` where the newest versions within the bounds of pyproject.toml have just been installed."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [str(Path(folder, "bin", "python")), "-m", "pip"]
        subprocess.run([*pip, "install", ".[dev]"], check=True)
        frozen = [*pip, "freeze", "--exclude", "fabnet-pipelines"]
        return subprocess.run(frozen, check=True, capture_output=True, text=True).stdout.splitlines()


def renewed(text: str, frozen: list[str]) -> str:
    """The constraints `text` with the versions of `frozen`; comments and markers stay.

    Packages of the second paragraph, which are not installed everywhere, stay there whether `frozen` has them or not,
    and so does a line of the first with a marker. Local versions are cut off: torch 2.13.0+cpu is 2.13.0.
    """
    first, second = (paragraph.splitlines() for paragraph in text.split("\n\n"))
    old = _pins(first) | _pins(second)
    new = {n: line.partition("+")[0] + _marker(old.get(n, "")) for n, line in _pins(frozen).items()}
    elsewhere = {name: new.pop(name, line) for name, line in _pins(second).items()}
    everywhere = {name: line for name, line in _pins(first).items() if _marker(line)} | new
    paragraphs = (_comments(first) + _sorted(everywhere), _comments(second) + _sorted(elsewhere))
    return "\n\n".join("\n".join(lines) for lines in paragraphs) + "\n"


def _pins(lines: list[str]) -> dict[str, str]:
    """Line by name of the package."""
    return {canonicalize_name(Requirement(line).name): line for line in lines if not line.startswith("#")}


def _marker(line: str) -> str:
    """What a line says after its version, with the semicolon."""
    return "".join(line.partition(";")[1:])


def _comments(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("#")]


def _sorted(pins: dict[str, str]) -> list[str]:
    return [pins[name] for name in sorted(pins)]


def main() -> int:
    """Write the file and say what to check; exit status of pip if it failed."""
    try:
        text = renewed(CONSTRAINTS.read_text(encoding="utf-8"), freeze())
    except subprocess.CalledProcessError as error:
        return error.returncode
    CONSTRAINTS.write_text(text, encoding="utf-8")
    print(f"{CONSTRAINTS} is new: check its second paragraph, of which not all is installed here, and run `make test`")
    return 0


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m pipelines.constraints", description=__doc__).parse_args()
    sys.exit(main())
