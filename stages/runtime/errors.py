"""Errors that are not bugs: a user's mistake, and an item that cannot be used."""


class UserError(Exception):
    """Bad configuration or input: one sentence with what was expected, what was found, what to do."""


class Rejected(Exception):  # noqa: N818  nothing went wrong: the item is left out
    """One item cannot be used; it becomes a row of a rejects table, and the run continues."""

    def __init__(self, kind: str, detail: str = "") -> None:
        """`kind`: a short fixed phrase such as "no face detected"; `detail`: the specifics."""
        super().__init__(kind, detail)
        self.kind, self.detail = kind, detail

    def __str__(self) -> str:
        return reason(self.kind, self.detail)


def reason(kind: str, detail: str) -> str:
    """Kind and detail of a reject as they are printed."""
    return f"{kind}: {detail}" if detail else kind
