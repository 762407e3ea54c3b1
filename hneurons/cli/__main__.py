"""`python -m hneurons.cli`, where the program itself is not on the path."""

from hneurons.cli import app

app()
