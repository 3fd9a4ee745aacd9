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
from trellis.model.status import Health

log = structlog.get_logger()

PATIENCE = 3
"""So many failed calls in a row, where one alone says nothing (5xx, lost answers)."""


class ProviderHealth:
    """One provider's health: changes are logged once, and asked of by the planner.

    Attributes:
        state: whether it can be used.
        reason: why not; "" when it can.
    """

    def __init__(
        self, provider: str, wall: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._provider, self._wall, self._changed = provider, wall, changed
        self._failures = 0
        self._barred = False
        self.state = Health.STARTING
        self.reason = "starting: the cloud has not been read yet"
        self.since = wall()

    @property
    def closed(self) -> str:
        """Why nothing may be launched now; "" if it may."""
        return "" if self.state is Health.AVAILABLE else self.reason

    def works(self) -> None:
        """A call did what it should."""
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
                self._become(Health.UNAVAILABLE, f"unavailable: {error}")
            case CloudBrokenError() | AnswerLostError():
                self._failures += 1
                if self._failures >= PATIENCE or self.state is not Health.AVAILABLE:
                    self._become(Health.UNAVAILABLE, f"unavailable: {error}")
            case _:
                pass

    def closed_for(self, reason: str) -> None:
        """It must not be used, however well its calls end, until all of it is read anew."""
        self._barred = True
        self._become(Health.UNAVAILABLE, f"unavailable: {reason}")

    def _become(self, state: Health, reason: str) -> None:
        # The cloud's request ids differ from call to call: the same trouble is told once.
        same = state is self.state and reason.partition(" [")[0] == self.reason.partition(" [")[0]
        if not same:
            log.log(
                30 if state is Health.UNAVAILABLE else 20,
                "provider_health",
                provider=self._provider,
                health=state.value,
                reason=reason,
            )
            self.since = self._wall()
        changed = state is not self.state
        self.state, self.reason = state, reason
        if changed:
            self._changed()
