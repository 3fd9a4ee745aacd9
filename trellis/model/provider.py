"""What Trellis remembers of a provider over a restart."""

import attrs


@attrs.frozen(kw_only=True)
class Pause:
    """Who stopped launches, why and until when; None is until resumed."""

    by: str
    reason: str
    since: float
    until: float | None = None
    drain: bool = False
    """True: idle nodes are deleted too."""


@attrs.frozen(kw_only=True)
class ProviderRecord:
    """The durable part of a provider.

    Attributes:
        pause: set while launches are stopped.
        sweep_confirmed: a person has confirmed once that leaks may be deleted here.
        adopted_below: servers tagged ours with unknown node ids below this were accepted as
            leaks of ours by a person's word.
    """

    name: str
    pause: Pause | None = None
    sweep_confirmed: bool = False
    adopted: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class StoreMeta:
    """The one record about the store itself.

    Attributes:
        deployment: whose store this is.
        next_node: the number of the next node; it only rises.
    """

    deployment: str
    next_node: int = 1
