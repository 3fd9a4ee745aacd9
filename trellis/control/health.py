"""Whether a provider can be used, judged from how its calls end."""

from collections.abc import Callable

import structlog

from trellis.errors import (
    AnswerLostError,
    AuthError,
    CloudBrokenError,
    CloudError,
    MisconfiguredError,
    UnreachableError,
)
from trellis.model.breaker import Scope
from trellis.model.status import Health

log = structlog.get_logger()

PROJECT_CHANGED = "project changed"
"""What rule 2 of the design calls a login that leads to another project than the records'."""
PATIENCE = 3
"""So many failed calls in a row, where one alone says nothing (5xx, lost answers)."""


class ProviderHealth:
    """One provider's health: asked of by the planner, and told in the log when it changes.

    While it stays unavailable, the log tells each kind of trouble once, however often and at
    whichever call it shows; `reason` is always the latest.

    Attributes:
        state: whether it can be used.
        reason: why not; "" when it can.
        since: when it came into this state, in UTC seconds.
        scope: what is at fault while it is unavailable: the account or the region; None where
            no waiting helps.
    """

    def __init__(
        self, provider: str, wall: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._provider, self._wall, self._changed = provider, wall, changed
        self._failures = 0
        self._barred = True
        self._told: list[str] = []
        self.state = Health.STARTING
        self.reason = "starting: the cloud has not been read yet"
        self.since = wall()
        self.scope: Scope | None = None

    @property
    def closed(self) -> str:
        """Why nothing may be launched now; "" if it may."""
        return "" if self.state is Health.AVAILABLE else self.reason

    def works(self) -> None:
        """A call did what it should; that ends a row of failures, and no other trouble."""
        self._failures = 0
        if self.state is Health.UNAVAILABLE and not self._barred:
            self._become(Health.AVAILABLE, "")

    def opened(self) -> None:
        """All that is needed to launch has been read."""
        self._failures = 0
        self._barred = False
        self._become(Health.AVAILABLE, "")

    def failed(self, error: CloudError) -> None:
        """A call failed: some errors speak for the whole provider at once, some only in a row."""
        match error:
            case AuthError() | UnreachableError() | MisconfiguredError():
                # Another service of the cloud may well work: only a whole reading opens it again.
                self._barred = True
                self.scope = _scope(error)
                self._become(Health.UNAVAILABLE, f"unavailable: {error}", type(error).__name__)
            case CloudBrokenError() | AnswerLostError():
                self._failures += 1
                if self._failures >= PATIENCE or self.state is not Health.AVAILABLE:
                    self.scope = _scope(error)
                    self._become(Health.UNAVAILABLE, f"unavailable: {error}", "no good answer")
            case _:
                pass

    def blind(self, error: CloudError) -> None:
        """The server list fails again and again, whatever the reason: nothing can be watched."""
        if self.state is Health.UNAVAILABLE:
            return  # what has closed it says more
        self.scope = _scope(error)
        self._become(Health.UNAVAILABLE, f"unavailable: no server list: {error}", "no server list")

    def closed_for(self, reason: str, *, kind: str = "") -> None:
        """It must not be used, however well its calls end, until all of it is read anew.

        Args:
            kind: what to call this trouble, where *reason* has different words for it.
        """
        self._barred = True
        self.scope = None
        self._become(Health.UNAVAILABLE, f"unavailable: {reason}", kind or reason)

    def _become(self, state: Health, reason: str, kind: str = "") -> None:
        changed = state is not self.state
        # What requests wait for is told anew with each pass.
        reworded = state is Health.UNAVAILABLE and reason != self.reason
        self.state, self.reason = state, reason
        if changed:
            self._told.clear()
            self.since = self._wall()
        if changed or (kind and kind not in self._told):
            self._told.append(kind)
            log.log(
                30 if state is Health.UNAVAILABLE else 20,
                "provider_health",
                provider=self._provider,
                health=state.value,
                reason=reason,
            )
        if changed or reworded:
            self._changed()


def _scope(error: CloudError) -> Scope:
    """Whose fault it is: that of the login, which all regions share, or of this region."""
    login = isinstance(error, AuthError) or error.call == "login" or " identity " in error.call
    return Scope.ACCOUNT if login else Scope.REGION
