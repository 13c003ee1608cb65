"""Profiles: complete sets of parameters. `check` checks params.yaml, `use NAME` writes it from a profile."""

import re
import sys
from pathlib import Path

from stages.runtime.config import check, digest
from stages.runtime.errors import UserError


def use_profile(name: str, profiles: Path = Path("profiles"), target: Path = Path("params.yaml")) -> None:
    """Write `target` from `profiles/<name>.yaml`; a file that is the same already is left alone.

    Raises:
        UserError: no such profile, or one with a wrong parameter.
    """
    source = profile_file(name, profiles)
    check(source)
    text = source.read_text(encoding="utf-8")
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")
        sys.stdout.write(f"params.yaml now holds the profile {name!r}\n")


def profile_file(name: str, profiles: Path) -> Path:
    """Where a profile lies.

    Raises:
        UserError: no such profile; the sentence lists those that exist.
    """
    known = sorted(path.stem for path in profiles.glob("*.yaml"))
    if name not in known:
        raise UserError(f"no profile {name!r}: expected one of {', '.join(known)}")
    return profiles / f"{name}.yaml"


def main(arguments: list[str]) -> int:
    """Command line: `check` or `use NAME`."""
    try:
        if arguments == ["check"]:
            params = check(Path("params.yaml"))
            sys.stdout.write(f"params.yaml is complete: profile {params.profile}, configuration {digest(params)}\n")
        elif len(arguments) == 2 and arguments[0] == "use" and re.fullmatch(r"\w+", arguments[1]):
            use_profile(arguments[1])
        else:
            raise UserError("usage: python -m pipelines.profile check | use NAME")
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
