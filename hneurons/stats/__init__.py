"""Estimates with intervals over gold answers, tests, calibration, and how often the intervals cover the truth."""
