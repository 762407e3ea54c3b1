"""Seeds that name what is drawn."""

import hashlib


def seed_of(seed: int, *parts: str) -> int:
    """A 63-bit seed of a study's seed and the names of what is drawn: stable across machines and Python runs."""
    digest = hashlib.sha256("\x1f".join([str(seed), *parts]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
