"""Seeds derived from names."""

import hashlib


def seed_of(seed: int, *parts: str) -> int:
    """Derive a 63-bit seed that is the same on any machine and in any Python process.

    Args:
        seed: the study's seed.
        parts: names of what is drawn.
    """
    digest = hashlib.sha256("\x1f".join([str(seed), *parts]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
