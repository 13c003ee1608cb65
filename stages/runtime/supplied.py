"""Weight files that the user supplies: found, and the very ones that the parameters name."""

from pathlib import Path

from stages.runtime.errors import UserError
from stages.runtime.files import file_digest


def check(weights: str, sha256: str, section: str, wanted: str) -> Path:
    """The path of a supplied file whose digest is right.

    Args:
        weights: the parameter `<section>.weights`.
        sha256: the parameter `<section>.weights_sha256`.
        section: where the two stand in params.yaml.
        wanted: what the file should be, for the sentence that asks for it.

    Raises:
        UserError: no such file, or another one.
    """
    path = Path(weights)
    if not weights or not path.is_file():
        found = f"found no file {weights}" if weights else "found an empty value"
        raise UserError(f"{section}.weights should be the path of {wanted}: {found}")
    digest = file_digest(path)
    if sha256 != digest:
        raise UserError(
            f"{section}.weights_sha256 should be the sha256 of {path}, which is {digest}, found {sha256 or 'nothing'}: "
            "check that it is the file you mean and put its digest there"
        )
    return path
