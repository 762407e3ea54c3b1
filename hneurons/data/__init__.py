"""Questions and benchmark rows: published files, pinned and checked, and sets generated from facts."""
