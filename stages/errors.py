"""The errors a user can cause, told apart from bugs by their type."""


class UserError(Exception):
    """Bad configuration or input: one sentence with what was expected, what was found, what to do."""


class Rejected(Exception):
    """One item cannot be used; its message becomes the reason in a rejects table, the run goes on."""
