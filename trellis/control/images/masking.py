"""Taking secrets out of what a build says."""

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "********"
MOST_SHOWN: Final = 4096
"""Characters of a line that are kept."""
_LEAST: Final = 4


class Mask:
    """Replaces secrets in texts, also where they are quoted or coded as programs do.

    Args:
        secrets: the texts. Of one with several lines each line is masked by itself, as a log
            has them one by one. None may have less than four characters.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        variants = {variant for secret in secrets for variant in _variants(secret)}
        self._secrets = sorted(variants, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._secrets)))

    def __call__(self, text: str) -> str:
        """The text without secrets, cut if it is too long."""
        if self._secrets:
            text = self._pattern.sub(MASK, text)
        return text if len(text) <= MOST_SHOWN else self._cut(text)

    def _cut(self, text: str) -> str:
        """The beginning of a long text; no beginning of a secret is left at its end."""
        kept = text[:MOST_SHOWN]
        for secret in self._secrets:
            for length in range(min(len(secret), len(kept)), _LEAST - 1, -1):
                if kept.endswith(secret[:length]):
                    kept = kept[:-length] + MASK
                    break
        return f"{kept} …"


def _variants(secret: str) -> Iterator[str]:
    for part in (secret, *(line.strip() for line in secret.splitlines())):
        if len(part) >= _LEAST:
            yield part
            yield quote(part, safe="")
            yield quote_plus(part)
            # As bash prints it when it traces, and as base64 says it.
            yield part.replace("'", "'\\''")
            yield base64.b64encode(part.encode()).decode().rstrip("=")
