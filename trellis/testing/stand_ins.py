"""What a cassette shows in the place of the account that it was recorded with."""

import ipaddress
import json
import re
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import urlsplit

from trellis.openstack.clouds import CloudConfig
from trellis.openstack.login import Access
from trellis.testing.heard import Heard

USER: Final = "trellis-ci"
PROJECT: Final = "trellis-project"
DOMAIN: Final = "trellis-domain"
EVERYBODYS: Final = ("default", "Default")
"""Id and name of the domain that every keystone has."""
_SECRETS: Final = (
    "password", "secret", "token", "passcode", "api_key", "apikey", "secret_key",
)  # fmt: skip
_OVERRIDE: Final = "_endpoint_override"
_SHORTEST_ID: Final = 5


def is_secret(key: str) -> bool:
    """Whether an option of a login holds a secret."""
    return key.endswith(_SECRETS)


def secrets_of(cloud: CloudConfig) -> tuple[str, ...]:
    """The values of an entry that must stand nowhere, as they are and as JSON has them."""
    values = [str(value) for key, value in cloud.auth.items() if is_secret(key)]
    forms = [
        form
        for value in values
        for form in (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    ]
    return tuple(dict.fromkeys(forms))


def stand_ins(
    cloud: CloudConfig,
    access: Access,
    *,
    hide_hosts: bool,
    heard: Heard | None = None,
    public: Collection[str] = (),
) -> dict[str, str]:
    """What a cassette shows in the place of this account.

    Names of user, projects and domains are replaced where they are whole values; ids wherever
    they occur.

    Args:
        heard: what the identity service has told of the account.
        public: names of domains that are the same for each of the cloud's customers.

    Returns:
        By real text, what stands for it; the longest first, as one may begin like another.
    """
    heard = Heard() if heard is None else heard
    found = _hosts(cloud, access, hide_hosts)
    ids = [
        (access.project_id, "1"),
        (access.user_id, "2"),
        (cloud.auth.get("application_credential_id", ""), "3"),
        (cloud.auth.get("access_key", ""), "4"),
    ]
    others = [id_ for id_ in heard.projects if id_ != access.project_id]
    ids += [(id_, str(number)) for number, id_ in enumerate(others, 50)]
    own = [id_ for id_ in heard.domains if id_ not in (*EVERYBODYS, *public)]
    ids += [(id_, str(number)) for number, id_ in enumerate(own, 90)]
    for real, number in ids:
        if len(real) >= _SHORTEST_ID:
            found.setdefault(real, _like(real, number))
    for real, fake in _names(cloud, access, heard):
        if real and not (fake == DOMAIN and real in (*EVERYBODYS, *public)):
            # As JSON has it: some write it in ASCII, and some do not.
            found.setdefault(json.dumps(real), json.dumps(fake))
            found.setdefault(json.dumps(real, ensure_ascii=False), json.dumps(fake))
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _hosts(cloud: CloudConfig, access: Access, hide_hosts: bool) -> dict[str, str]:
    urls = [(cloud.auth.get("auth_url", ""), "identity")]
    urls += [(row.url, row.service_type) for row in access.catalog]
    urls += [
        (url, key.removesuffix(_OVERRIDE).replace("_", "-"))
        for key, url in cloud.overrides.items()
        if key.endswith(_OVERRIDE)
    ]
    found: dict[str, str] = {}
    for url, service in urls:
        parts = urlsplit(url)
        if parts.hostname and (hide_hosts or not _is_known(parts.hostname)):
            # Links in answers often have http:// where the catalog has https://.
            for scheme in (parts.scheme, "http", "https"):
                found.setdefault(f"{scheme}://{parts.netloc}", f"https://{service}.cloud.example")
    return found


def _names(cloud: CloudConfig, access: Access, heard: Heard) -> Iterator[tuple[str, str]]:
    """Names with what stands for each; those of the entry first."""
    for key, fake in (
        ("username", USER), ("project_name", PROJECT), ("tenant_name", PROJECT),
        ("application_credential_name", USER), ("user_domain_name", DOMAIN),
        ("project_domain_name", DOMAIN), ("domain_name", DOMAIN),
    ):  # fmt: skip
        yield cloud.auth.get(key, ""), fake
    for name in sorted(heard.users):
        yield name, USER
    others = 0
    for id_, name in heard.projects.items():
        if id_ == access.project_id:
            yield name, _like_project(name)
        else:
            others += 1
            yield name, f"other-project-{others}"
    for name in heard.domains.values():
        yield name, DOMAIN


def _like_project(name: str) -> str:
    """A name of a project; one of an account's number and a product keeps the product.

    By that some logins choose among a user's projects.
    """
    parts = re.fullmatch(r"(\d{4,})([_-]\w+)", name)
    return PROJECT if parts is None else "0" * len(parts[1]) + parts[2]


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
