"""Make `dvc plots` work without the internet: run `python -m pipelines.offline_plots` once.

DVC's page loads Vega from a CDN and stays empty offline. This writes a copy of the page with Vega inside it and names
the copy in .dvc/config.local, so that `dvc plots show` and `dvc plots diff` use it from then on.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from dvc_render.html import PAGE_HTML

from pipelines.dvc import graph
from stages.runtime import command
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text

PAGE = Path("tmp/plots.html")  # in .dvc, ignored by git
VEGA_LITE = "5.21"  # DVC's templates are written for version 5


def page() -> str:
    """DVC's own page with Vega inside it instead of its URL.

    Raises:
        UserError: the package with Vega is missing.
    """
    try:
        import vl_convert  # noqa: PLC0415  84 MB that only this page needs
    except ImportError:
        raise UserError(
            "Vega is missing: run `pip install -c constraints.txt -e '.[plots]'` once while online"
        ) from None
    bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE).replace("</script", "<\\/script")
    return PAGE_HTML.replace("{scripts}", f"<script>{bundle}</script>")


def main(root: Path = Path()) -> int:
    """Write the page and the setting; exit status of DVC.

    Raises:
        UserError: the package that brings Vega is missing.
    """
    replace_text(root / ".dvc" / PAGE, page())
    done = subprocess.run(
        [*graph.DVC, "config", "--local", "plots.html_template", PAGE.as_posix()], cwd=root, check=False
    )
    return done.returncode


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m pipelines.offline_plots", description=__doc__).parse_args()
    sys.exit(command.guarded(main))
