"""One login: from a cloud's configuration to a token and its catalog, or to a typed error."""

import logging
import re
from typing import Any, Final

import attrs
import trio
from keystoneauth1 import exceptions as ks
from keystoneauth1.access import AccessInfo

from trellis.errors import (
    AnswerLostError,
    AuthError,
    CloudBrokenError,
    CloudError,
    ConfigError,
    MisconfiguredError,
    RetryLaterError,
)
from trellis.http.road import Road
from trellis.openstack import loaders
from trellis.openstack.catalog import Catalog, read_catalog
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.faults import Row, login_remedy
from trellis.openstack.tape import run_tape

LOGIN_WITHIN_S: Final = 90.0
_CALL_WITHIN_S: Final = 30.0
_DEFAULT_LIFE_S: Final = 3600.0
_SHORTEST_LIFE_S: Final = 30.0
_LONGEST_LIFE_S: Final = 7 * 86400.0
_CALL: Final = "login"
_TOKEN: Final = re.compile(r"[!-~]{1,65536}")
"""It goes into a header of each call; PKI tokens were the longest, with some 10 kB."""
_ANOTHER_SHAPE: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""How keystoneauth1 fails over an answer that is JSON, but not what it expects."""

# At DEBUG they write whole token bodies.
for _name in ("keystoneauth", "keystoneauth.identity", "keystoneauth.session"):
    logging.getLogger(_name).setLevel(logging.WARNING)
# It warns of failed discovery before it falls back to the URL; the outcome is what counts.
logging.getLogger("keystoneauth.identity.generic").setLevel(logging.ERROR)


@attrs.frozen(kw_only=True)
class Access:
    """What a login gave.

    Attributes:
        generation: counts the logins of the account; a newer token has a higher one.
        good_until: on Trio's clock; from the token's lifetime, so clocks need not agree.
    """

    token: str = attrs.field(repr=False)
    project_id: str
    user_id: str
    catalog: Catalog = attrs.field(repr=False)
    generation: int = 1
    good_until: float = float("inf")


class Login:
    """Logs in with one cloud's credentials; keeps what it discovered of the identity service.

    Args:
        config: the cloud.
        road: to the identity service; it needs one connection.
        refusals: the cloud's own words for refusals.

    Raises:
        MisconfiguredError: keystoneauth1 cannot make a plugin of the options.
    """

    def __init__(self, config: CloudConfig, road: Road, refusals: tuple[Row, ...] = ()) -> None:
        self.config = config
        self._road = road
        self._refusals = refusals
        try:
            loader = loaders.find_loader(config.auth_type)
            self._plugin: Any = loader.load_from_options(**config.auth)
        except (ConfigError, ks.AuthPluginException, TypeError, ValueError) as error:
            raise MisconfiguredError(
                f"auth_type {config.auth_type} cannot be used with the options given "
                f"({', '.join(sorted(config.auth))}): {type(error).__name__}. "
                f"Correct the entry {config.name} in clouds.yaml",
                cloud=config.name,
                call=_CALL,
            ) from None  # keystoneauth's text may quote an option

    async def __call__(self, generation: int) -> Access:
        """Log in once.

        Cancelling it leaves at most a token that nobody uses.

        Raises:
            AuthError: the credentials are refused.
            UnreachableError: no connection to the identity service.
            AnswerLostError, CloudBrokenError, RetryLaterError: it fails, or makes no sense.
            MisconfiguredError: the login gives no project or no catalog, or ``auth_url`` is wrong.
        """
        began = trio.current_time()
        try:
            with trio.fail_after(LOGIN_WITHIN_S):
                return await self._access(began, generation)
        except trio.TooSlowError:
            raise AnswerLostError(
                f"no login within {LOGIN_WITHIN_S:g} s at {self._auth_url}",
                cloud=self.config.name,
                call=_CALL,
            ) from None
        except (ks.ClientException, *_ANOTHER_SHAPE) as error:
            raise self._error(error) from error

    async def _access(self, began: float, generation: int) -> Access:
        self._plugin.invalidate()
        # Only we decide when to log in again, and by Trio's clock.
        self._plugin.reauthenticate = False
        ref: AccessInfo = await run_tape(
            self._road, self._plugin.get_access, budget_s=_CALL_WITHIN_S
        )
        token = ref.auth_token
        if token is None or not _TOKEN.fullmatch(token):
            raise ValueError("a token without its value, or with one that is no header's")
        if not ref.project_id:
            raise MisconfiguredError(
                "the login succeeds, but its token belongs to no project. Set project_name (and "
                f"project_domain_name) or project_id of {self.config.name} in clouds.yaml",
                cloud=self.config.name,
                call=_CALL,
            )
        if not ref.has_service_catalog():
            raise ks.EmptyCatalog()
        catalog = read_catalog(ref.service_catalog.normalize_catalog())
        if not catalog:
            raise ks.EmptyCatalog()
        return Access(
            token=token,
            project_id=ref.project_id,
            user_id=ref.user_id or "",
            catalog=catalog,
            generation=generation,
            good_until=began + _lifetime(ref),
        )

    def _why_refused(self, error: ks.HttpError) -> str:
        """What is known beyond the refusal, as sentences; "" if nothing is."""
        said = getattr(error, "response", None)
        remedy = ""
        if said is not None:
            remedy = login_remedy(
                error.http_status, said.headers, said.content, first=self._refusals
            )
        # A plugin may know the look of the secret it wants (the Rackspace key's, say).
        doubt = getattr(self._plugin, "doubt", "") or _looks_like_a_key(self.config)
        return "".join(f"{_sentence(text)}. " for text in (remedy, "" if remedy else doubt) if text)

    @property
    def _auth_url(self) -> str:
        return str(self.config.auth.get("auth_url", "no auth_url"))

    def _error(self, error: Exception) -> CloudError:
        """Read keystoneauth1's error; its own text is used only where it quotes no answer."""
        entry = self.config.name
        status = getattr(error, "http_status", None)
        where: dict[str, Any] = {
            "cloud": entry,
            "call": _CALL,
            "status": status,
            "cloud_request_id": getattr(error, "request_id", None) or "",
        }
        if isinstance(error, ks.Unauthorized | ks.Forbidden):
            return AuthError(
                f"{self._auth_url} refuses the credentials (auth_type {self.config.auth_type}). "
                f"{self._why_refused(error)}Check user, secret and project of {entry} in "
                "clouds.yaml or secure.yaml; a change there is taken up by itself",
                **where,
            )
        if isinstance(error, ks.EmptyCatalog):
            return MisconfiguredError(
                "the login succeeds, but its catalog is empty. Is the project of "
                f"{entry} in clouds.yaml the right one, and activated?",
                **where,
            )
        # The last: a service that wants a token before it says what it is, as all but identity do.
        elsewhere = ks.NotFound | ks.DiscoveryFailure | ks.MethodNotAllowed | ks.MissingAuthPlugin
        if isinstance(error, elsewhere):
            return MisconfiguredError(
                f"{self._auth_url} is no identity service that auth_type "
                f"{self.config.auth_type} can use. Check auth_url of {entry} in clouds.yaml: it "
                "often ends in /v3",
                **where,
            )
        if isinstance(error, ks.HttpError) and status in (413, 429):
            response = getattr(error, "response", None)
            return RetryLaterError(
                f"{self._auth_url} limits the rate of logins",
                after_s=_seconds(response),
                **where,
            )
        if isinstance(error, ks.HttpError) and status is not None and 400 <= status < 500:
            return MisconfiguredError(
                f"{self._auth_url} rejects the form of the login (auth_type "
                f"{self.config.auth_type}). Check domains and project of {entry} in clouds.yaml",
                **where,
            )
        if isinstance(error, ks.HttpError):
            return CloudBrokenError(f"{self._auth_url} fails", **where)
        if isinstance(error, ks.MissingRequiredOptions | ks.AuthPluginException):
            return MisconfiguredError(
                f"auth_type {self.config.auth_type} lacks an option ({type(error).__name__}). "
                f"Complete {entry} in clouds.yaml",
                **where,
            )
        return CloudBrokenError(
            f"{self._auth_url} answers with what is no token "
            f"({type(error).__name__}). Does auth_url of {entry} in clouds.yaml name an identity "
            "service, and not a web page?",
            **where,
        )


_KEY: Final = re.compile(r"[0-9a-f]{32}")


def _looks_like_a_key(config: CloudConfig) -> str:
    """A doubt about a password that looks like what another auth_type takes; "" if it does not.

    Only at Keystone v2.0, where vendors had keys of their own.
    """
    by_password = config.auth_type in ("password", "v2password")
    at_v2 = "/v2" in config.auth.get("auth_url", "")
    if not by_password or not at_v2 or not _KEY.fullmatch(config.auth.get("password", "")):
        return ""
    takers = loaders.names_with("api_key", tenants=True)
    if not takers:
        return ""
    return (
        "the password looks like an API key (32 hexadecimal digits): if it is one, write "
        f"auth_type: {takers[0]} and api_key in place of password"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lifetime(ref: AccessInfo) -> float:
    """Seconds the token lives, by its own two dates: neither clock matters."""
    try:
        expires, issued = ref.expires, ref.issued
    except KeyError:
        return _DEFAULT_LIFE_S  # Rackspace's v2 does not say when it issued a token
    if expires is None or issued is None:
        return _DEFAULT_LIFE_S
    life = (expires - issued).total_seconds()
    return float(min(_LONGEST_LIFE_S, max(_SHORTEST_LIFE_S, life)))


def _seconds(response: Any) -> float | None:
    try:
        return float(response.headers["Retry-After"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
