"""Which simulation a seed belongs to: another version of the code tells another story."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import attrs

import trellis

_PACKAGE: Final = Path(trellis.__file__).parent
_DIGITS: Final = 8


@cache
def simulation_version() -> str:
    """The release and a digest of all code of Trellis, as ``0.1.0+3f2a91c0``.

    Any change of the daemon may change what a seed tells, so the digest is over all of it.
    """
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py"), key=lambda x: x.relative_to(_PACKAGE).parts):
        digest.update("/".join(path.relative_to(_PACKAGE).parts).encode())
        digest.update(path.read_bytes())
    return f"{trellis.__version__}+{digest.hexdigest()[:_DIGITS]}"


@attrs.frozen
class Replay:
    """A seed with the version that it was found by."""

    version: str
    seed: int

    @classmethod
    def parse(cls, text: str) -> "Replay":
        """Read ``VERSION:SEED``.

        Raises:
            ValueError: it is not of that form.
        """
        version, colon, number = text.rpartition(":")
        if not colon or not version or not number.isascii() or not number.isdigit():
            raise ValueError(f"expected VERSION:SEED, as {simulation_version()}:105, not {text!r}")
        return cls(version, int(number))

    def __str__(self) -> str:
        return f"{self.version}:{self.seed}"

    @property
    def doubt(self) -> str:
        """Why it may not replay; "" if it does."""
        if self.version == simulation_version():
            return ""
        return (
            f"seed {self.seed} was found by version {self.version} and this is "
            f"{simulation_version()}: it may not replay. Check that version out to be sure"
        )
