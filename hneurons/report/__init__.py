"""Pages to read: a study's front page, and what `hneurons detect` found. Each is one file that needs nothing else."""
