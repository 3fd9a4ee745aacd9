"""What an ask says of the job it is for: by these words its request is found and counted."""

import re
from collections.abc import Iterator
from typing import Final

from trellis.model.request import Ask, NodeRequest

MOST_WORDS: Final = 20
"""So many values of an ask's metadata are kept findable."""
_LONGEST: Final = 255
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\U00010000-\U0010ffff]")
"""What clouds' databases do not take: control characters, and what has four bytes in UTF-8."""


def tenant_of(ask: Ask) -> str:
    """On whose behalf it is asked; "" if nobody's."""
    return ask.tenant or ask.metadata.get("zuul_tenant", "")


def pipeline_of(ask: Ask) -> str:
    """The pipeline its job runs in; "" where none is told."""
    return ask.metadata.get("zuul_pipeline") or ask.metadata.get("pipeline", "")


def job_of(ask: Ask) -> str:
    """The job it is for; "" where none is told."""
    return ask.metadata.get("zuul_job") or ask.metadata.get("job", "")


def notes_of(request: NodeRequest) -> dict[str, str]:
    """What a server that is made for a request is to carry, beside its tag, for the cloud's people.

    Clean text of at most 255 bytes each; nothing for what is not told.
    """
    ask = request.ask
    told = {
        "trellis_request": request.id,
        "trellis_tenant": tenant_of(ask),
        "trellis_pipeline": pipeline_of(ask),
        "trellis_job": job_of(ask),
    }
    return {key: _clean(value) for key, value in told.items() if value}


def _clean(text: str) -> str:
    """A text as every cloud takes it: cut where a whole character ends."""
    fit = _UNFIT.sub("?", text).encode()
    return fit[:_LONGEST].decode(errors="ignore")


def for_whom(ask: Ask) -> str:
    """In words for which job, pipeline and tenant it is asked; "" where nothing is told."""
    named = (("job", job_of(ask)), ("pipeline", pipeline_of(ask)), ("tenant", tenant_of(ask)))
    return ", ".join(f"{what} {name}" for what, name in named if name)


def words_of(ask: Ask) -> tuple[str, ...]:
    """The words a request is found by, beside its id: its tenant, and what its metadata says."""
    return tuple(dict.fromkeys(_words(ask)))


def _words(ask: Ask) -> Iterator[str]:
    if ask.tenant:
        yield ask.tenant[:_LONGEST]
    for _, (_key, value) in zip(range(MOST_WORDS), ask.metadata.items(), strict=False):
        if value:
            yield value[:_LONGEST]
