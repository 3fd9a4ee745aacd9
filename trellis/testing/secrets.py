"""What secrets look like, and how an exchange with a cloud is freed of them.

Two nets: `Scrubber` replaces what is known by its place (a header, a key in a body) while an
exchange is recorded; `find_secrets` knows the shapes, and is held against every finished file.
"""

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs

SCRUBBED: Final = "scrubbed"

_SECRET_KEYS: Final = frozenset(
    {
        "adminpass", "admin_pass", "apikey", "api_key", "passcode", "password",
        "original_password", "private_key", "secret", "secret_key", "secretkey", "user_data",
    }
)  # fmt: skip
_TOKEN_HEADERS: Final = frozenset({"x-auth-token", "x-subject-token", "x-storage-token"})
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "set-cookie", "cookie", "x-service-token"}
)
_SECRET_QUERY: Final = frozenset({"temp_url_sig", "signature", "x-amz-signature", "token"})
_FAR: Final = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)

_SHAPES: Final = {
    "a Fernet token": r"gAAAAA[0-9A-Za-z_-]{16,}",
    "a JSON web token": r"eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}\.",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a PKI token": r"\bMII[0-9A-Za-z+/-]{64,}",
    "an access key": r"\bAKIA[0-9A-Z]{16}\b",
    "a token in a body": r"\"token\"\s*:\s*\{[^{}]*\"id\"\s*:\s*\"(?!scrubbed)[^\"]",
    # `: "value"` of JSON and `: value` or `:\n - value` of YAML.
    "a value that should be scrubbed": (
        r"(?i)\b(?:adminPass|admin_pass|api_?key|passcode|password|original_password|private_key"
        r"|secret(?:_?key)?|user_data|x-auth-token|x-subject-token|x-storage-token|x-service-token"
        r"|authorization|set-cookie)[\"']?\s*:\s*+(?:-\s*+)?+"
        r"(?:[\"'](?!scrubbed)[^\"']|(?!scrubbed|null|true|false)[^\"'\s{[\]},|>])"
    ),
}
_COMPILED: Final = {name: re.compile(pattern) for name, pattern in _SHAPES.items()}


@attrs.frozen(kw_only=True)
class Finding:
    """Something in a text that looks like a secret.

    Attributes:
        line: its line, from 1.
        what: which shape it has. The value itself is not repeated.
    """

    line: int
    what: str


def find_secrets(text: str) -> tuple[Finding, ...]:
    """Look for the shapes of tokens, keys and passwords that were not scrubbed.

    Args:
        text: a cassette, as it is in its file.

    Returns:
        All that was found, in the order of the text.
    """
    found = [
        Finding(line=text.count("\n", 0, match.start()) + 1, what=what)
        for what, pattern in _COMPILED.items()
        for match in pattern.finditer(text)
    ]
    return tuple(sorted(found, key=lambda finding: (finding.line, finding.what)))


class Scrubber:
    """Replaces secrets by their place, and moves the life of tokens to the year 2099.

    Equal tokens get equal names and different ones different names, so that a story about an
    expired token can still be told. A scrubbed value stays as it is when scrubbed again.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with their secrets replaced."""
        return {name: self._header(name, value) for name, value in headers.items()}

    def url(self, url: str) -> str:
        """The URL with signatures in its query replaced."""
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        if not any(key.lower() in _SECRET_QUERY for key, _ in query):
            return url
        clean = [(key, SCRUBBED if key.lower() in _SECRET_QUERY else v) for key, v in query]
        return urlunsplit(parts._replace(query=urlencode(clean)))

    def body(self, body: bytes) -> bytes:
        """The body with its secrets replaced and indented, if it is JSON; else as it is."""
        try:
            read = json.loads(body)
        except ValueError:
            return body
        return json.dumps(self._value(read, ""), indent=1, ensure_ascii=False).encode()

    def _header(self, name: str, value: str) -> str:
        if name.lower() in _TOKEN_HEADERS:
            return self._token(value)
        return SCRUBBED if name.lower() in _SECRET_HEADERS else value

    def _token(self, value: str) -> str:
        if value.startswith(SCRUBBED):
            return value
        return self._tokens.setdefault(value, f"{SCRUBBED}-token-{len(self._tokens) + 1}")

    def _value(self, value: Any, parent: str) -> Any:
        if isinstance(value, list):
            return [self._value(item, parent) for item in value]
        if not isinstance(value, dict):
            return value
        return _far_from_expiry({key: self._leaf(key, item, parent) for key, item in value.items()})

    def _leaf(self, key: str, value: Any, parent: str) -> Any:
        # Only strings are secrets: `identity.password` is an object that holds one.
        if isinstance(value, str):
            if key.lower() in _SECRET_KEYS:
                return SCRUBBED
            if parent == "token" and key == "id":
                return self._token(value)
        return self._value(value, key)


def _far_from_expiry(token: dict[str, Any]) -> dict[str, Any]:
    """Move a token's times into the year 2099 and keep the time between them."""
    end = next((key for key in ("expires_at", "expires") if isinstance(token.get(key), str)), None)
    if end is None or not isinstance(token.get("issued_at"), str):
        return token
    try:
        life = _read_time(token[end]) - _read_time(token["issued_at"])
    except ValueError:
        return token
    return {**token, "issued_at": _as_time(_FAR), end: _as_time(_FAR + life)}


def _read_time(text: str) -> datetime.datetime:
    at = datetime.datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=datetime.UTC)


def _as_time(at: datetime.datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
