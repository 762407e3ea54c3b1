"""A set of neurons with its weights, scaling it in a loaded model, and exporting a scaled checkpoint."""
