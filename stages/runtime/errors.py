"""The errors a user can cause, told apart from bugs by their type."""


class UserError(Exception):
    """Bad configuration or input: one sentence with what was expected, what was found, what to do."""


class Rejected(Exception):  # noqa: N818  nothing went wrong: the item is left out
    """One item cannot be used; its message becomes the reason in a rejects table, the run goes on."""
