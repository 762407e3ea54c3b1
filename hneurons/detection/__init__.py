"""Scores of the probe and its baselines on test answers (Table 1) and in folds, and detection on any response."""
