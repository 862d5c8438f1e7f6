"""Marks of secrets: whether a secret is still the one that was written last, told without keeping it. Pure."""

import hashlib

__all__ = ["mark"]

_COST = {"n": 2**14, "r": 8, "p": 1}  # about 50 ms and 16 MiB a guess; there are as many marks to make as secrets in the settings
_SIZE_BYTES = 4


def mark(secret: str, place: str) -> str:
    """Eight hexadecimal digits that equal secrets of one `place` (an account) share, and that do not lead back to them.

    Who has the ledger can try guesses, each at the cost of scrypt, salted with the place so that none is tried for two accounts at
    once; and 32 bits cannot tell a right guess from the many wrong ones that share them. One rotation in 4 billion goes unnoticed.
    """
    return hashlib.scrypt(secret.encode(), salt=f"crossdock mark 1 {place}".encode(), dklen=_SIZE_BYTES, **_COST).hex()
