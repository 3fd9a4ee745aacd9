"""Rackspace's two ways to log in that keystoneauth1 does not have, as plugins of it.

``rackspace_apikey``: Keystone v2.0 with the account's API key in the vendor's own extension
RAX-KSKEY (docs-cloud-identity, *Authenticate as user with password or API key*).
``rackspace_flex``: Keystone v3 with password, choosing the project: a user of Flex sees an old one
beside it (rackerlabs/genestack, *Getting started*).
"""

import re
from collections.abc import MutableMapping
from typing import Any, Final

from keystoneauth1 import loading
from keystoneauth1.access import AccessInfoV3
from keystoneauth1.identity import v2, v3
from keystoneauth1.loading import opts

from trellis.errors import CloudBrokenError, MisconfiguredError

_CREDENTIALS: Final = "RAX-KSKEY:apiKeyCredentials"
_KEY: Final = re.compile(r"[0-9a-f]{32}")
_FLEX: Final = "flex"
"""Stands in the name of a project of Flex, as ``1234567_Flex``."""


class ApiKey(v2.Auth):
    """Logs in with a user's name and API key.

    Args:
        auth_url: of Keystone v2.0.
        username: the user.
        api_key: his key, which the control panel shows; it is good with a second factor too.
        scope: ``tenant_id``, ``tenant_name``; without one the account's own number.
    """

    def __init__(self, auth_url: str, *, username: str, api_key: str, **scope: Any) -> None:
        super().__init__(auth_url, **scope)
        self.username = username
        self.api_key = api_key

    def get_auth_data(self, _headers: MutableMapping[str, str] | None = None) -> dict[str, object]:
        """The credentials in the body of the login."""
        return {_CREDENTIALS: {"username": self.username, "apiKey": self.api_key}}

    def get_cache_id_elements(self) -> dict[str, str | None]:
        """What tells this login from others."""
        return {
            "username": self.username,
            "api_key": self.api_key,
            "auth_url": self.auth_url,
            "tenant_id": self.tenant_id,
            "tenant_name": self.tenant_name,
        }

    @property
    def doubt(self) -> str:
        """Why the key is perhaps none, for a refused login; "" if it looks like one."""
        if _KEY.fullmatch(self.api_key):
            return ""
        return (
            "an API key of Rackspace has 32 hexadecimal digits, and api_key has not: if it is the "
            "password, write auth_type: v2password and password in place of api_key"
        )


class ApiKeyLoader(loading.BaseV2Loader[ApiKey]):
    """The options of `ApiKey`."""

    @property
    def plugin_class(self) -> type[ApiKey]:
        """What it makes."""
        return ApiKey

    def get_options(self) -> list[opts.Opt]:
        """Those of v2.0, the user and the key."""
        return [
            *(option for option in super().get_options() if option.dest != "trust_id"),
            opts.Opt("username", required=True, help="Username to login with"),
            opts.Opt(
                "api-key",
                required=True,
                secret=True,
                deprecated=[opts.Opt("apikey")],
                help="API key of the user",
            ),
        ]


class FlexPassword(v3.Password):
    """Logs in with a password, or an API key in its place, to the project that is Flex's.

    A project that is configured is taken. Without one, the user's projects are listed: of several
    the one is taken whose name says that it is of Flex.

    Raises:
        MisconfiguredError: none of several is of Flex, or more than one; they are listed.
    """

    def get_auth_ref(self, session: Any, **kwargs: Any) -> AccessInfoV3:
        """Log in; without a configured project by three calls: unscoped, list, scoped."""
        if self.has_scope_parameters:
            return super().get_auth_ref(session, **kwargs)
        unscoped = super().get_auth_ref(session, **kwargs)
        listed = session.get(
            f"{self.auth_url.rstrip('/')}/auth/projects",
            headers={"Accept": "application/json", "X-Auth-Token": unscoped.auth_token},
            authenticated=False,
            log=False,
        )
        chosen = chosen_project(_projects(listed.json()))
        scoped = v3.Auth(self.auth_url, self.auth_methods, project_id=chosen)
        return scoped.get_auth_ref(session, **kwargs)


class FlexLoader(loading.BaseV3Loader[FlexPassword]):
    """The options of `FlexPassword`: those of ``v3password``."""

    @property
    def plugin_class(self) -> type[FlexPassword]:
        """What it makes."""
        return FlexPassword

    def get_options(self) -> list[opts.Opt]:
        """Those of v3, the user with his domain, and the secret."""
        return [
            *super().get_options(),
            opts.Opt("username", required=True, help="Username to login with"),
            opts.Opt("user-domain-id", help="ID of the user's domain"),
            opts.Opt("user-domain-name", help="Name of the user's domain"),
            opts.Opt("password", required=True, secret=True, help="Password or API key"),
        ]


def chosen_project(projects: dict[str, str]) -> str:
    """The id of the project to work in.

    Args:
        projects: names by id, of those that the user may use.

    Raises:
        MisconfiguredError: it cannot be told which.
    """
    if len(projects) == 1:
        return next(iter(projects))
    of_flex = [id for id, name in projects.items() if _FLEX in name.lower()]
    if len(of_flex) == 1:
        return of_flex[0]
    names = ", ".join(sorted(projects.values()))
    what = (
        "the user has no project"
        if not projects
        else (f"which of the user's projects is meant cannot be told: {names}")
    )
    raise MisconfiguredError(
        f"the login succeeds, but {what}. Set project_name in clouds.yaml to that of Flex",
        call="login",
    )


def _projects(found: Any) -> dict[str, str]:
    rows = found.get("projects") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CloudBrokenError("the list of the user's projects is no such list", call="login")
    return {
        str(row["id"]): str(row.get("name") or "")
        for row in rows
        if row.get("enabled") is not False and row.get("id")
    }
