"""Judges of model responses: by rules or by a language model, behind the interface in judge.py."""
