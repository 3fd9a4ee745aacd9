"""Where the file store is in catalogs and paths, and whose account it is."""

import hashlib
from typing import Final

OBJECT_STORE: Final = "object-store"
"""Type of the service, and its part of paths."""


def account_of(project_id: str, prefix: str) -> str:
    """Name of a project's account."""
    if prefix == "AUTH_":
        return f"{prefix}{project_id}"
    digits = hashlib.md5(project_id.encode(), usedforsecurity=False).hexdigest()
    parts = (digits[:8], digits[8:12], f"4{digits[13:16]}", f"a{digits[17:20]}", digits[20:])
    return prefix + "-".join(parts)
