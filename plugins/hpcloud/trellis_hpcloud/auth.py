"""Logins at HP's Keystone v2.0, in two steps where no tenant is configured.

A login without a tenant is answered with a token of no tenant and a catalog that is an empty
*object*. So it is changed for one of the user's tenant: the tenants are listed with it, and the
login is made again with the tenant's id (hphelion/documentation identity.api.md, 2014).
"""

import abc
from collections.abc import MutableMapping
from typing import Any, Final

from keystoneauth1 import loading
from keystoneauth1.access import AccessInfoV2
from keystoneauth1.exceptions import InvalidResponse
from keystoneauth1.identity import v2
from keystoneauth1.loading import Opt
from keystoneauth1.session import Session

from trellis.errors import MisconfiguredError

_MOST_NAMED: Final = 5


class TwoSteps(v2.Auth):
    """A login that finds its tenant itself unless it is told one.

    Args:
        auth_url: of the identity service, with its ``/v2.0``.
        tenant_id, tenant_name: the tenant; None looks for the only one that is enabled.
    """

    def __init__(
        self, auth_url: str, *, tenant_id: str | None = None, tenant_name: str | None = None
    ) -> None:
        super().__init__(auth_url, tenant_id=tenant_id, tenant_name=tenant_name)

    @abc.abstractmethod
    def get_auth_data(self, headers: MutableMapping[str, str] | None = None) -> dict[str, object]:
        """The credentials, as they stand in ``auth``."""

    def get_auth_ref(self, session: Session) -> AccessInfoV2:
        """Log in, with one call, or with three where the tenant must be found.

        Raises:
            MisconfiguredError: the user has no tenant that is enabled, or several.
            keystoneauth1.exceptions.ClientException: a call is refused, or makes no sense.
        """
        first = super().get_auth_ref(session)
        if self.has_scope_parameters or first.project_id:
            return first
        self.tenant_id = self._only_tenant(session, first.auth_token)
        try:
            return super().get_auth_ref(session)
        finally:
            # It is looked for with each login: accounts are moved to other tenants.
            self.tenant_id = None

    def _only_tenant(self, session: Session, token: str | None) -> str:
        answer = session.get(
            self.auth_url.rstrip("/") + "/tenants",
            headers={"Accept": "application/json", "X-Auth-Token": token},
            authenticated=False,
            log=False,
        )
        try:
            tenants: list[dict[str, Any]] = answer.json()["tenants"]
            enabled = {str(row["id"]): str(row["name"]) for row in tenants if row.get("enabled")}
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise InvalidResponse(response=answer) from error
        if len(enabled) == 1:
            return next(iter(enabled))
        if not enabled:
            raise MisconfiguredError(
                "the credentials are right, but their user has no tenant that is enabled. "
                "Have the cloud's operator enable one",
                call="login",
            )
        names = ", ".join(list(enabled.values())[:_MOST_NAMED])
        more = ", …" if len(enabled) > _MOST_NAMED else ""
        raise MisconfiguredError(
            f"the user has {len(enabled)} tenants: {names}{more}. Set project_name of this cloud "
            "in clouds.yaml to the one to work in",
            call="login",
        )


class AccessKey(TwoSteps):
    """A login with an access key and its secret key, ``apiAccessKeyCredentials``."""

    def __init__(self, auth_url: str, access_key: str, secret_key: str, **scope: Any) -> None:
        super().__init__(auth_url, **scope)
        self._access_key, self._secret_key = access_key, secret_key

    def get_auth_data(self, _headers: MutableMapping[str, str] | None = None) -> dict[str, object]:
        """The credentials, as they stand in ``auth``."""
        pair = {"accessKey": self._access_key, "secretKey": self._secret_key}
        return {"apiAccessKeyCredentials": pair}


class Password(TwoSteps):
    """A login with the user's name and password."""

    def __init__(self, auth_url: str, username: str, password: str, **scope: Any) -> None:
        super().__init__(auth_url, **scope)
        self._username, self._password = username, password

    def get_auth_data(self, _headers: MutableMapping[str, str] | None = None) -> dict[str, object]:
        """The credentials, as they stand in ``auth``."""
        return {"passwordCredentials": {"username": self._username, "password": self._password}}


class _Loader(loading.BaseLoader[v2.Auth]):
    def get_options(self) -> list[Opt]:
        """The options of every login here."""
        return [
            *super().get_options(),
            Opt("auth-url", required=True, help="URL of the identity service"),
            Opt("tenant-id", deprecated=[Opt("project-id")], help="Id of the tenant"),
            Opt("tenant-name", deprecated=[Opt("project-name")], help="Name of the tenant"),
        ]


class AccessKeyLoader(_Loader):
    """``auth_type: hpcloud_accesskey``."""

    @property
    def plugin_class(self) -> type[AccessKey]:
        """What it loads."""
        return AccessKey

    def get_options(self) -> list[Opt]:
        """Those of every login, and the two keys."""
        return [
            *super().get_options(),
            Opt("access-key", required=True, help="Access key"),
            Opt("secret-key", required=True, secret=True, help="Its secret key"),
        ]


class PasswordLoader(_Loader):
    """``auth_type: hpcloud_password``."""

    @property
    def plugin_class(self) -> type[Password]:
        """What it loads."""
        return Password

    def get_options(self) -> list[Opt]:
        """Those of every login, name and password."""
        return [
            *super().get_options(),
            Opt("username", required=True, help="Name of the user"),
            Opt("password", required=True, secret=True, help="Password"),
        ]
