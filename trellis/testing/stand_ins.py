"""What a cassette shows in the place of the account that it was recorded with."""

import ipaddress
import json
from typing import Final
from urllib.parse import urlsplit

from trellis.openstack.clouds import CloudConfig
from trellis.openstack.login import Access

USER: Final = "trellis-ci"
PROJECT: Final = "trellis-project"
_SECRETS: Final = (
    "password", "secret", "token", "passcode", "api_key", "apikey", "secret_key",
)  # fmt: skip
_SHORTEST_ID: Final = 5


def is_secret(key: str) -> bool:
    """Whether an option of a login holds a secret."""
    return key.endswith(_SECRETS)


def secrets_of(cloud: CloudConfig) -> tuple[str, ...]:
    """The values of an entry that must stand nowhere."""
    return tuple(str(value) for key, value in cloud.auth.items() if is_secret(key))


def stand_ins(cloud: CloudConfig, access: Access, *, hide_hosts: bool) -> dict[str, str]:
    """What a cassette shows in the place of this account.

    Names of user and project are replaced where they are whole values; ids wherever they occur.
    """
    urls = [(cloud.auth.get("auth_url", ""), "identity")]
    urls += [(row.url, row.service_type) for row in access.catalog]
    found: dict[str, str] = {}
    for url, service in urls:
        parts = urlsplit(url)
        if parts.hostname and (hide_hosts or not _is_known(parts.hostname)):
            found.setdefault(f"{parts.scheme}://{parts.netloc}", f"https://{service}.cloud.example")
    ids = (
        (access.project_id, "1"),
        (access.user_id, "2"),
        (cloud.auth.get("application_credential_id", ""), "3"),
        (cloud.auth.get("access_key", ""), "4"),
    )
    for real, number in ids:
        if len(real) >= _SHORTEST_ID:
            found[real] = _like(real, number)
    names = (
        ("username", USER), ("project_name", PROJECT), ("tenant_name", PROJECT),
        ("application_credential_name", USER),
    )  # fmt: skip
    for key, fake in names:
        if real := cloud.auth.get(key, ""):
            found.setdefault(json.dumps(real), json.dumps(fake))
    return found


def _is_known(host: str) -> bool:
    """Whether a host is one that everybody can look up: no address, no name of one word."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host and not host.endswith((".local", ".internal", ".localdomain"))
    return False


def _like(real: str, number: str) -> str:
    """An id of the same look: digits stay digits, dashes stay where they are."""
    blank = "".join("0" if char.isalnum() else char for char in real)
    return blank[: -len(number)] + number
