"""Weight files that the user supplies, checked by their digest."""

from pathlib import Path

from stages.runtime.errors import UserError
from stages.runtime.files import file_digest


def check(weights: str, sha256: str, setting: str, wanted: str) -> Path:
    """The path of a supplied file that has the given digest.

    Args:
        weights: what the user set for `setting`.
        sha256: what the user set for `<setting>_sha256`.
        setting: what the user calls the path, such as `detect.weights`.
        wanted: what the file should be, for the error.

    Raises:
        UserError: no such file, or its digest differs.
    """
    path = Path(weights)
    if not weights or not path.is_file():
        found = f"found no file {weights}" if weights else "found an empty value"
        raise UserError(f"{setting} should be the path of {wanted}: {found}")
    digest = file_digest(path)
    if sha256 != digest:
        raise UserError(
            f"{setting}_sha256 should be the sha256 of {path}, which is {digest}, found {sha256 or 'nothing'}: "
            "check that it is the file you mean and put its digest there"
        )
    return path
