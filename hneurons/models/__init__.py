"""Models: fetched, checked, converted, pinned in a manifest and loaded; and the MLPs inside any decoder."""
