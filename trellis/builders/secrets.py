"""Which texts of a build's environment must not be seen."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from trellis.config.kinds import looks_secret

_CREDENTIALS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/\s@]+)@")
LEAST: Final = 4
"""Characters of a text that is masked."""
_NO_SECRETS: Final = frozenset({"true", "false", "none", "null", "disabled", "enabled"})


def secrets_of(environment: Mapping[str, str], declared: Mapping[str, str]) -> tuple[str, ...]:
    """The texts to mask: what is declared secret, what sounds so, and credentials in URLs.

    What is only found by the sound of its name has to have four characters, and to be no such word
    as ``true``: a log without them could not be read.

    Args:
        environment: all of the build's.
        declared: those of it that were declared secret.
    """
    found = [value for value in declared.values() if value]
    for name, value in environment.items():
        guessed = [value] if looks_secret(name) else []
        guessed += credentials_in(value)
        found += [x for x in guessed if len(x) >= LEAST and x.lower() not in _NO_SECRETS]
    return tuple(dict.fromkeys(found))


def credentials_in(text: str) -> Iterator[str]:
    """The passwords of URLs in a text; all that stands before the ``@`` where there is no colon."""
    for found in _CREDENTIALS.finditer(text):
        user, colon, password = found[1].partition(":")
        yield password if colon else user
