"""The other project to which logins lead while a cloud's projects are mixed up.

Nothing of the account's is in it, and its quota allows nothing.
"""

from typing import Any, Final

from trellis.sim.cloud.wire import Request, Response, answer, neutron_error, nova_fault

_LISTS: Final = {
    "servers": "servers",
    "os-keypairs": "keypairs",
    "ports": "ports",
    "floatingips": "floatingips",
    "volumes": "volumes",
}


def in_another_project(
    request: Request, service: str, segments: tuple[str, ...]
) -> Response | None:
    """How the other project answers a call; None where all projects see the same.

    Args:
        segments: of the path below the service.
    """
    first = 2 if service == "volume" else 1
    resource = segments[first] if len(segments) > first else ""
    if service == "compute" and resource == "limits":
        return answer(200, {"limits": {"rate": [], "absolute": _NO_LIMITS}})
    if resource == "quotas" or resource.startswith("os-quota"):
        if service == "network":
            return neutron_error(403, "PolicyNotAuthorized", "disallowed by policy")
        return nova_fault(403, "Policy does not allow it.")
    key = _LISTS.get(resource)
    if key is None:
        return None
    rest = segments[first + 1 :]
    if request.method == "POST" and not rest:
        if service == "network":
            return neutron_error(409, "OverQuota", f"Quota exceeded for resources: {key}")
        return nova_fault(403, "Quota exceeded for instances: Requested 1, but already used 0")
    if request.method == "GET" and rest in ((), ("detail",)):
        found: dict[str, Any] = {key: []}
        return answer(200, found)
    if service == "network":
        return neutron_error(404, "NotFound", f"{resource} could not be found.")
    return nova_fault(404, "Instance could not be found.")


_NO_LIMITS: Final = {
    "maxTotalInstances": 0,
    "maxTotalCores": 0,
    "maxTotalRAMSize": 0,
    "maxTotalKeypairs": 0,
    "totalInstancesUsed": 0,
    "totalCoresUsed": 0,
    "totalRAMUsed": 0,
}
