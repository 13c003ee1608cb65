"""The reference table: rows of this project's report for results/, and what all of results/ says as a page.

How to add rows of yours: docs/reference-table.md.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines import profile
from pipelines.parameters import files
from pipelines.results import collected, page
from pipelines.results.rows import FOLDER, read_all, write
from stages.runtime import command, config
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text

PAGE = Path("docs/reference-table.md")
BLOCK = re.compile(r"(<!-- results: [^\n]*-->\n).*?(<!-- end of results -->)", re.DOTALL)


def collect(root: Path, out: Path, said: collected.Said) -> None:
    """Write the rows of this project's report into a file of results/.

    Raises:
        UserError: there is no such report, something is not said, or a row is in another file already.
    """
    if out.suffix != ".csv" or out.parent.resolve() != (root / FOLDER).resolve():
        raise UserError(f"the rows should go into {FOLDER}/<who>-<date>.csv, found {out}")
    rows = collected.rows(root, said if said.command else _with_command(root, said))
    before = out.read_bytes() if out.exists() else None
    write(out, rows)
    try:
        read_all(root / FOLDER)
    except UserError:
        out.write_bytes(before) if before is not None else out.unlink()
        raise
    print(f"{out}: {len(rows)} rows; `python -m pipelines.reference render` puts them onto the page")


def _with_command(root: Path, said: collected.Said) -> collected.Said:
    """The command that makes the report of a profile as it is."""
    if profile.edits_of(files.read(root / "params.yaml"), root / "profiles"):
        raise UserError(
            "--command should say how to repeat the results, since params.yaml is not a profile as it is: for example "
            "'make profile PROFILE=small; methods: [own]; make repro'"
        )
    name = config.load(root / "params.yaml").profile
    return collected.Said(said.pack, said.encoder, f"make repro PROFILE={name}")


def check(root: Path) -> None:
    """Read every row of results/.

    Raises:
        UserError: the first row that is wrong, with file and line.
    """
    print(f"{FOLDER}: {len(read_all(root / FOLDER))} rows, all sound")


def render(root: Path) -> None:
    """Put the tables onto their page.

    Raises:
        UserError: a row is wrong.
    """
    text = (root / PAGE).read_text(encoding="utf-8")
    tables = page.markdown(read_all(root / FOLDER))
    replace_text(root / PAGE, BLOCK.sub(lambda found: f"{found[1]}{tables}\n{found[2]}", text))


def main(arguments: Sequence[str], root: Path = Path()) -> None:
    """Command line.

    Raises:
        UserError: as the three functions above.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.reference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.reference write results/jane-doe-2026-12-01.csv --pack '300-W official'",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    writing = commands.add_parser("write", help="write the rows of data/reports into a file of results/")
    writing.add_argument("file", type=Path, metavar="FILE", help="results/<who>-<date>.csv")
    writing.add_argument("--pack", default="", help="which files of the data sets; not of rendered ones")
    writing.add_argument("--encoder", default="", help="which encoder the method own is")
    writing.add_argument("--command", dest="repeat", default="", help="that repeats it, if params.yaml is no profile")
    commands.add_parser("check", help="read every row of results/")
    commands.add_parser("render", help=f"put the tables into {PAGE}")
    options = parser.parse_args(arguments)
    work: dict[str, Callable[[], None]] = {
        "write": lambda: collect(root, options.file, collected.Said(options.pack, options.encoder, options.repeat)),
        "check": lambda: check(root),
        "render": lambda: render(root),
    }
    work[options.command]()


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
