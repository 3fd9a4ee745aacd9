"""A request of Zuul's: read, and written back with our own keys and nothing else changed.

Keys and states as Zuul 9 to 14.3 write and read them. Nothing here does I/O.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final

import attrs

from trellis_zuul.paths import precedence_of
from trellis_zuul.raw_object import NotAnObjectError, RawObject, read_object

MIN_READY_REQUESTOR: Final = "NodePool:min-ready"
"""Nodepool's launchers ask themselves for their idle nodes; their requests are not Zuul's."""

_MOST_TEXT: Final = 255
_MOST_SHOWN: Final = 60


class UnreadableRequestError(ValueError):
    """A request that cannot be understood, and so is left alone; the text says why."""


class ZuulState(enum.Enum):
    """Where a request is, in the protocol's words."""

    REQUESTED = "requested"
    PENDING = "pending"
    FULFILLED = "fulfilled"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class RequestDocument:
    """A request as it stands in its znode.

    Attributes:
        labels: what is asked for, in the order in which the nodes have to be named.
        requestor: the Zuul system that asks: several may share one tree.
        provider: to be taken if it can; None is any.
        rank: Zuul's relative priority: within one precedence the lower goes first.
        declined_by: ids of the pools that have declined it.
        nodes: ids of its nodes, once it is fulfilled.
        requestor_data: what Zuul wants to find again: build set, pipeline, job.
        whole: the document.
    """

    id: str
    labels: tuple[str, ...]
    requestor: str
    state: ZuulState
    provider: str | None
    rank: int
    reuse: bool
    tenant: str | None
    event_id: str | None
    declined_by: tuple[str, ...]
    nodes: tuple[str, ...]
    requestor_data: Mapping[str, Any]
    whole: RawObject

    @property
    def precedence(self) -> int:
        """100 high, 200 normal, 300 low; one less for the child of a paused job."""
        return precedence_of(self.id)

    def metadata(self) -> dict[str, str]:
        """Whom and what it is for, as Trellis keeps it, to be found and explained by."""
        texts = {
            "zuul_request": self.id,
            "zuul_event": self.event_id,
            "zuul_build_set": self.requestor_data.get("build_set_uuid"),
            "zuul_tenant": self.tenant,
            "zuul_pipeline": self.requestor_data.get("pipeline_name"),
            "zuul_job": self.requestor_data.get("job_name"),
            "zuul_job_uuid": self.requestor_data.get("job_uuid"),
            "zuul_system": self.requestor,
        }
        return {
            key: text[:_MOST_TEXT] for key, text in texts.items() if isinstance(text, str) and text
        }

    def pending(self, at: float) -> bytes:
        """The document of a request that is being served."""
        return self._became(ZuulState.PENDING, at)

    def begun_again(self, at: float) -> bytes:
        """The document of a request that is served by nobody any more."""
        return self._became(ZuulState.REQUESTED, at)

    def fulfilled(self, nodes: tuple[str, ...], at: float) -> bytes:
        """The document of a request that has its nodes.

        Args:
            nodes: ids, in the order of the labels.
        """
        if len(nodes) != len(self.labels):
            raise ValueError(f"request {self.id}: {len(nodes)} nodes for {len(self.labels)} labels")
        return self._became(ZuulState.FULFILLED, at, nodes=list(nodes))

    def declined(self, by: tuple[str, ...], at: float, *, failed: bool) -> bytes:
        """The document of a request that these pools, too, have declined.

        Args:
            failed: nobody is left who could serve it.
        """
        all_of_them = [*self.declined_by, *(one for one in by if one not in self.declined_by)]
        state = ZuulState.FAILED if failed else ZuulState.REQUESTED
        return self._became(state, at, declined_by=all_of_them)

    def _became(self, state: ZuulState, at: float, **changes: Any) -> bytes:
        return self.whole.encoded({**changes, "state": state.value, "state_time": at})


def read_request(request_id: str, data: bytes) -> RequestDocument:
    """Read the document of a request.

    Raises:
        UnreadableRequestError: it is no request that can be served, and written back unharmed.
    """
    try:
        whole = read_object(data)
    except NotAnObjectError as error:
        raise UnreadableRequestError(str(error)) from error
    data_of_requestor = whole.get("requestor_data")
    about = data_of_requestor if isinstance(data_of_requestor, dict) else {}
    tenant = _text_or_none(whole, "tenant_name")
    if tenant is None and isinstance(about.get("tenant_name"), str):
        tenant = about["tenant_name"]
    return RequestDocument(
        id=request_id,
        labels=_labels(whole),
        requestor=_requestor(whole),
        state=_state(whole),
        provider=_text_or_none(whole, "provider") or None,
        rank=_rank(whole),
        reuse=_reuse(whole),
        tenant=tenant or None,
        event_id=_text_or_none(whole, "event_id"),
        declined_by=_texts(whole, "declined_by"),
        nodes=_texts(whole, "nodes"),
        requestor_data=about,
        whole=whole,
    )


def _wrong(key: str, value: object, wanted: str) -> UnreadableRequestError:
    shown = repr(value)
    shown = shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}…"
    return UnreadableRequestError(f"its key {key!r} must be {wanted}, not {shown}")


def _needed(whole: RawObject, key: str) -> Any:
    if key not in whole:
        raise UnreadableRequestError(f"it has no key {key!r}")
    return whole[key]


def _labels(whole: RawObject) -> tuple[str, ...]:
    labels = _needed(whole, "node_types")
    if not isinstance(labels, list) or not all(isinstance(one, str) and one for one in labels):
        raise _wrong("node_types", labels, "a list of labels")
    return tuple(labels)


def _requestor(whole: RawObject) -> str:
    requestor = _needed(whole, "requestor")
    if not isinstance(requestor, str) or not requestor:
        raise _wrong("requestor", requestor, "the id of a Zuul system")
    return requestor


def _state(whole: RawObject) -> ZuulState:
    state = _needed(whole, "state")
    known = {each.value: each for each in ZuulState}
    if not isinstance(state, str) or state not in known:
        raise _wrong("state", state, f"one of {', '.join(known)}")
    return known[state]


def _rank(whole: RawObject) -> int:
    rank = whole.get("relative_priority")
    if rank is None:
        return 0
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank < 2**31:
        raise _wrong("relative_priority", rank, "a whole number from 0")
    return rank


def _reuse(whole: RawObject) -> bool:
    reuse = whole.get("reuse")
    if reuse is None:
        return True
    if not isinstance(reuse, bool):
        raise _wrong("reuse", reuse, "true or false")
    return reuse


def _text_or_none(whole: RawObject, key: str) -> str | None:
    text = whole.get(key)
    if text is not None and not isinstance(text, str):
        raise _wrong(key, text, "a text or null")
    return text


def _texts(whole: RawObject, key: str) -> tuple[str, ...]:
    texts = whole.get(key)
    if texts is None:
        return ()
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise _wrong(key, texts, "a list of ids")
    return tuple(texts)
