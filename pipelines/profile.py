"""Profiles, the complete sets of parameters: list them, write params.yaml from one, check it.

A profile is a whole parameter file but for `lists`, or names another one under `based_on` and holds only the values
that differ. Without a command: the profiles, which one params.yaml holds, and how it was edited.
What is done with params.yaml also brings its `lists` up to date, where `methods` or `datasets` was edited.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.dvc import cut_short
from pipelines.parameters import edits, files
from stages.runtime import command, config
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text

BASE = "based_on"
LONGEST = 40  # lines of a difference that are shown


def names(profiles: Path = Path("profiles")) -> list[str]:
    """All profiles, sorted."""
    return sorted(path.stem for path in profiles.glob("*.yaml"))


def text(name: str, profiles: Path = Path("profiles")) -> str:
    """The whole parameter file of a profile, with its lists.

    Raises:
        UserError: no such profile, not YAML, or a wrong parameter.
    """
    return edits.with_lists(written(name, profiles), f"profile {name}")


def written(name: str, profiles: Path = Path("profiles")) -> str:
    """The parameter file of a profile without its lists: that of its base with its own values and its own first line.

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
    return edits.replaced(title + "".join(rest), dict(_leaves(values)), f"profile {name}")


def _read(name: str, profiles: Path) -> tuple[str, dict[str, Any]]:
    """The file of a profile as it is, and what it holds."""
    if name not in names(profiles):
        raise UserError(f"no profile {name!r}: expected one of {', '.join(names(profiles))}")
    text = (profiles / f"{name}.yaml").read_text(encoding="utf-8")
    return text, config.content(text, f"profile {name}")


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of everything that is not a map."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def edits_of(found: str, profiles: Path = Path("profiles")) -> list[str]:
    """How the text of a parameter file differs from the profile that it names, lists aside: lines of a difference."""
    name = _named(found)
    if name not in names(profiles):
        what = f"the profile {name!r}, which is not in {profiles}" if name else "no profile"
        return [f"it names {what}"] if found else []
    return edits.difference(written(name, profiles), edits.without_lists(found), f"profile {name}", "params.yaml")


def _named(found: str) -> str:
    """The profile that a parameter file says it holds, whatever else is wrong with the file."""
    match = re.search(r"^profile: *([\w-]+)", found, re.MULTILINE)
    return match[1] if match else ""


def use(
    name: str, profiles: Path = Path("profiles"), target: Path = Path("params.yaml"), *, force: bool = False
) -> None:
    """Write `target` from a profile; a file that is the same already is left alone.

    An edited file is replaced only with `force`, and a copy of it is kept.

    Raises:
        UserError: no such profile, one with a wrong parameter, or an edited file, whose edits are shown.
    """
    new = text(name, profiles)
    config.check_plugins(config.parsed(new, f"profile {name}"))
    found = files.read(target)
    if found == new:
        return
    if changes := edits_of(found, profiles):
        if not force:
            _say(*_shortened(changes))
            raise UserError(
                f"{target} was edited, as shown above, and the profile {name!r} would overwrite it: leave PROFILE out "
                "to run it as it is, or add FORCE=1 (`use --force`) to replace it, which keeps a copy"
            )
        _say(f"{target} as it was is kept in {files.keep(target)}")
    replace_text(target, new)
    _say(f"{target} now holds the profile {name!r}")


def check(target: Path = Path("params.yaml")) -> None:
    """Bring the lists of params.yaml up to date, and check all of it, and that DVC can run beside it.

    Raises:
        UserError: something in it is wrong, or a killed run has left what stops DVC.
    """
    cut_short.check(target.parent)
    refresh(target)
    params = config.check(target)
    _say(f"{target} is complete: profile {params.profile}, configuration {config.digest(params)}")


def refresh(target: Path = Path("params.yaml")) -> None:
    """Bring the lists of params.yaml up to date, and say so if they were not.

    Raises:
        UserError: something in it is wrong.
    """
    if files.refresh(target):
        _say(f"{target}: `lists` was brought up to date with `methods` and `datasets`")


def show(profiles: Path = Path("profiles"), target: Path = Path("params.yaml")) -> None:
    """List the profiles; say which one params.yaml holds and how it was edited, and bring its lists up to date.

    Raises:
        UserError: something in params.yaml is wrong.
    """
    _say(*(f"  {name:<10} {_title(name, profiles)}" for name in names(profiles)))
    found = files.read(target)
    if found and _named(found) not in names(profiles):
        named = f"it says `profile: {_named(found)}`" if _named(found) else "it does not say which `profile` it is"
        _say(f"{target} is of none of these: {named}")
    elif changes := edits_of(found, profiles):
        _say(f"{target} holds the profile {_named(found)!r}, edited:", *_shortened(changes))
    elif found:
        _say(f"{target} holds the profile {_named(found)!r} as it is")
    refresh(target)


def _title(name: str, profiles: Path) -> str:
    """The first comment of a profile, without its name."""
    return _read(name, profiles)[0].splitlines()[0].lstrip("# ").removeprefix(f"Profile `{name}`: ")


def _shortened(lines: list[str]) -> list[str]:
    more = [f"... and {len(lines) - LONGEST} more lines"] if len(lines) > LONGEST else []
    return [*lines[:LONGEST], *more]


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def main(arguments: Sequence[str]) -> int:
    """Command line: nothing, `check`, or `use NAME`."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.profile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("check", help="check all of params.yaml")
    using = commands.add_parser("use", help="write params.yaml from a profile; it stops if edits would be lost")
    using.add_argument("name", metavar="NAME", help="file in profiles/, without .yaml")
    using.add_argument("--force", action="store_true", help="replace an edited params.yaml and keep a copy of it")
    options = parser.parse_args(arguments)
    work: dict[str | None, Callable[[], None]] = {
        None: show,
        "check": check,
        "use": lambda: use(options.name, force=options.force),
    }
    return command.guarded(work[options.command])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
