"""Sets of neurons with their weights, scaling them in a loaded model, and exporting a scaled checkpoint."""
