"""Where a provider's calls go, and whether *not found* there means anything."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from trellis.errors import MisconfiguredError, NotFoundError
from trellis.model.node import Home
from trellis.openstack.session import Session, SessionHome

T = TypeVar("T")


class AtHome:
    """The project, region and compute endpoint of the present token.

    Args:
        session: the account's road to the region.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: tuple[SessionHome, Home] | None = None

    async def home(self) -> Home:
        """Where calls go now.

        Raises:
            CloudError: there is no token.
        """
        home = await self._session.home()
        if self._known is None or self._known[0] is not home:
            ours = Home(project_id=home.project_id, region=home.region, endpoint=home.endpoint)
            self._known = (home, ours)
        return self._known[1]

    async def call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make calls whose *not found* counts only if the project stayed the same meanwhile.

        Raises:
            MisconfiguredError: the token leads to another project or endpoint now.
        """
        before = await self.home()
        try:
            answer = await call()
        except NotFoundError as error:
            missing = error
        else:
            await self._check(before)
            return answer
        await self._check(before)
        raise missing

    async def _check(self, before: Home) -> None:
        if (now := await self.home()) != before:
            raise MisconfiguredError(
                f"project changed: {before.project_id} at {before.endpoint} became "
                f"{now.project_id} at {now.endpoint}; what is not found there is not gone",
                cloud=self._session.cloud,
            )
