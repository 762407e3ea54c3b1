"""`python -m hneurons.cli`, for use where the `hneurons` program is not on the path."""

from hneurons.cli import app

app()
