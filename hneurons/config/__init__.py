"""Settings of a study: every key, its type and its check. Imported by the Snakefile, so nothing heavy is imported."""
