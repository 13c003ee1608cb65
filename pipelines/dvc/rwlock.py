"""DVC's list of the files that its runs read and write: `.dvc/tmp/rwlock`. A kill while it is written leaves it cut.

Then every later run of DVC fails. This module does not import DVC, which takes a second.
"""

import json
import time
from pathlib import Path

from stages.runtime.errors import UserError

FILE = Path(".dvc") / "tmp" / "rwlock"
TRIES, WAIT_S = 5, 0.2  # a run that is just writing the list has written it by then


def check(root: Path) -> None:
    """Nothing, if DVC can read its list or there is none.

    Raises:
        UserError: it is empty or cut short; the sentence says the way out.
    """
    for _ in range(TRIES):
        if _is_whole(root / FILE):
            return
        time.sleep(WAIT_S)
    raise UserError(
        f"{root / FILE} was cut short when a run was killed: if no other run uses this folder, `rm {root / FILE}`, "
        "then run the same command again; nothing is lost"
    )


def _is_whole(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except FileNotFoundError:
        return True
    except (ValueError, RecursionError):
        return False
