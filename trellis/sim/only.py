"""What happens of a story that has been shrunk: some of its parts, all else as it was."""

import attrs


@attrs.frozen(kw_only=True)
class Only:
    """The parts of a story that still happen; None is all of them.

    What is left out is drawn all the same, so that the chance of the rest stays what it was.

    Attributes:
        requests: requestors who file theirs.
        jobs: jobs of Zuul that ask for nodes, by their names.
        kills: numbers of the kills that come, from 0 on; those of a second daemon follow.
        changes: numbers of the changes of the configuration, likewise.
    """

    requests: tuple[str, ...] | None = None
    jobs: tuple[str, ...] | None = None
    kills: tuple[int, ...] | None = None
    changes: tuple[int, ...] | None = None
