"""The answer of `GET /api/v1/status`, made up; its shape is checked against the real one's."""

from typing import Any

import msgspec

from trellis.web.status_answers import StatusAnswer

NOW = "2026-11-23T03:41:30Z"
_KINDS = ("instances", "cores", "ram_mib", "floating_ips", "ports", "volumes", "volume_gib")


def use(ours: int = 0, others: int = 0, limit: object = None, own: object = None) -> dict[str, Any]:
    return {"ours": ours, "others": others, "limit": limit, "own_limit": own}


def a_provider(name: str = "ovh-bhs1", **changes: Any) -> dict[str, Any]:
    quota = {kind: use() for kind in _KINDS} | {"instances": changes.pop("servers", use(3, 0, 10))}
    return {
        "name": name, "type": "openstack", "cloud": "ovh", "region": "BHS1",
        "state": "available", "reason": "", "since": "2026-11-23T03:00:00Z", "pause": None,
        "sweep": "delete", "backoffs": {}, "missing": {}, "nodes": {"ready": 2, "building": 1},
        "quota": quota, "quota_refusals": 0, "api_calls": 12, "leaks": 0, "last_error": None,
        **changes,
    }  # fmt: skip


def a_pause(**changes: Any) -> dict[str, Any]:
    return {
        "by": "ada", "reason": "maintenance", "since": NOW, "until": None, "drain": False,
        **changes,
    }  # fmt: skip


def a_waiting(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"{number:08x}" + "0" * 24, "state": "pending", "labels": ["debian-12"],
        "requestor": "zuul", "tenant": None, "priority": 200,
        "created_at": "2026-11-23T03:40:30Z", "placed_at": "ovh-bhs1",
        "words": f"words of request {number}", "waits_for": "its nodes", "declined": [], "ahead": 0,
        "estimate_s": 20.4, **changes,
    }  # fmt: skip


def a_slow_node(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"{number:010d}", "label": "debian-12", "state": "deleting",
        "state_at": "2026-11-23T03:20:30Z", "provider": "ovh-bhs1",
        "words": f"words of node {number}", "allocated_to": None, "lost": False, **changes,
    }  # fmt: skip


def a_status(
    *,
    providers: list[dict[str, Any]] | None = None,
    waiting: list[dict[str, Any]] | None = None,
    waiting_in_all: int | None = None,
    slow: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    waiting, slow = waiting or [], slow or []
    status = {
        "deployment": "ci-main", "version": "1.2.3", "now": NOW,
        "started_at": "2026-11-23T03:11:30Z", "ready": True, "ready_detail": "", "notices": [],
        "last_event": "77", "providers": [a_provider()] if providers is None else providers,
        "labels": [
            {
                "name": "debian-12", "min_ready": 2, "offered_by": ["ovh-bhs1/main"],
                "nodes": {"ready": 2}, "host_key_checking": True,
            }
        ],
        "requests": {
            "waiting": len(waiting) if waiting_in_all is None else waiting_in_all,
            "by_state": {"pending": len(waiting), "fulfilled": 3}, "oldest": waiting,
        },
        "nodes": {
            "total": 3, "by_state": {"ready": 2, "building": 1}, "moving": len(slow),
            "notable": slow,
        },
        "figures": {
            "api_calls": 290, "launches": {"ready": 100}, "api_calls_per_node": 2.9,
            "wait_s": {"count": 100, "p50": 21.3, "p95": 44.9},
            "boot_s": {"count": 100, "p50": 2.04, "p95": 43.0},
        },
        **changes,
    }  # fmt: skip
    msgspec.convert(status, StatusAnswer)
    return status
