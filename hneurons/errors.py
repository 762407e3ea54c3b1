"""The exception whose message is meant for the user."""


class HNeuronsError(Exception):
    """Bad input or settings. The message says in one line what is wrong, where, and what to do.

    Any other exception is a bug.
    """
