"""Models: fetched, checked, converted, pinned in a manifest, loaded; and the MLPs inside any decoder."""
