"""Scores of the probe and its baselines on test answers (Table 1), in folds, and on any response."""
