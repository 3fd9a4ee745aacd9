"""What a running provider needs of whoever knows its account and its calls."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Protocol

from trellis.model.status import QuirkStatus
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import Provider


class Connected(Protocol):
    """A provider made, and what is known of its calls."""

    @property
    def provider(self) -> Provider:
        """The provider."""
        ...

    @property
    def account(self) -> Hashable:
        """What tells its account from others: providers that share one share its calls."""
        ...

    def api_calls(self) -> Mapping[str, int]:
        """Calls of the account so far by service and verb."""
        ...

    def calls_per_s(self) -> float:
        """How many calls in a second the cloud takes, as far as is known; inf if nothing is."""
        ...

    def quirks(self) -> tuple[QuirkStatus, ...]:
        """In what its cloud is not stock, as its type's profile says."""
        ...

    def creates_left(self) -> int | None:
        """How many creates the limit of a day still allows; None if there is no such limit."""
        ...

    def create_delay_s(self) -> float:
        """Seconds until the rate limits let one more create of the account through."""
        ...

    def creates_within(self, span_s: float) -> float:
        """About how many creates they let through in so many seconds; inf if nothing limits it."""
        ...

    def creates_in_line(self) -> int:
        """How many creates of the account wait for their turn, those of other providers too."""
        ...

    def note_past(self, times: Iterable[float]) -> None:
        """Count creates of before this process, in UTC seconds, against that limit."""
        ...

    def outdated(self) -> bool:
        """Whether the cloud is configured otherwise now; connecting anew takes that up."""
        ...

    def reconsider(self, *, anyway: bool = False) -> None:
        """Have a login that was refused tried again at once if its secret has been changed.

        Args:
            anyway: also if it has not been: a person says so.
        """
        ...

    def doubt(self) -> None:
        """Have the catalog fetched anew soon: it leads where nobody expects."""
        ...


class Connect(Protocol):
    """Makes the provider of a configuration, on the account it shares with others."""

    async def __call__(self, config: ProviderConfig) -> Connected:
        """Do no I/O but reading credentials. Cancelled, it leaves nothing behind.

        Raises:
            ConfigError: there is no such cloud or region, or no usable credentials.
        """
        ...
