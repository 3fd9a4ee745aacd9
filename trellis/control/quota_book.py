"""The ceilings of a quota over a restart: what refusals taught is not learnt anew each time."""

import attrs

from trellis.control.quota import Quota
from trellis.model.provider import ProviderRecord
from trellis.model.records import Change
from trellis.store.store import Store


@attrs.frozen(kw_only=True)
class QuotaBook:
    """Keeps them in the record of one provider; each that shares a quota has them in its own.

    Attributes:
        provider: its name.
    """

    provider: str
    store: Store

    def recall(self, quota: Quota) -> None:
        """Tell a quota that has not been read yet what is on record of it."""
        record = self.store.head(ProviderRecord, self.provider)
        known = record.ceilings if record is not None else ()
        quota.recall([one for one in known if one.quota == quota.name])

    def note(self, quota: Quota) -> None:
        """Put on record what is known of a quota by now; what was of another one goes.

        Raises:
            StoreFailedError: the store has failed.
        """
        if quota.home is None or quota.reading is None:
            return
        before = self.store.head(ProviderRecord, self.provider)
        known = before or ProviderRecord(name=self.provider)
        after = attrs.evolve(known, ceilings=quota.lasting())
        if after != known:
            # Read and staged without an await between: nobody comes between.
            self.store.stage([Change(before, after)])
