"""The one exception whose message is meant for the user: what is wrong, where, what to do, in one line."""


class HNeuronsError(Exception):
    """Bad input or settings, told in one line. Everything else that is raised is a bug."""
