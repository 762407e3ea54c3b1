"""Judges: by rules or by a language model, behind one interface."""
