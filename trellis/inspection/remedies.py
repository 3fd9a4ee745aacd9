"""What to do about an error that a cloud, a configuration or a plugin gives."""

from trellis.errors import (
    AnswerLostError,
    AuthError,
    CloudBrokenError,
    CloudError,
    ConfigError,
    MisconfiguredError,
    RejectedError,
    RetryLaterError,
    TrellisError,
    UnreachableError,
)
from trellis.inspection.findings import Finding, failure
from trellis.openstack.clouds import CloudConfig


def failed(what: str, error: TrellisError, cloud: CloudConfig, *, subject: str = "") -> Finding:
    """The finding that an error makes: what happened, apart from what to do about it."""
    if isinstance(error, ConfigError):
        return failure(what, "; ".join(error.faults), _of_entry(cloud.name), subject=subject)
    if not isinstance(error, CloudError):
        remedy = "tell the plugin's author; nothing of what you configured is wrong"
        return failure(what, str(error), remedy, subject=subject)
    told, stop, advice = error.message.partition(". ")
    status = f"{error.status} " if error.status else ""
    trace = f" [{error.cloud_request_id}]" if error.cloud_request_id else ""
    ours = isinstance(error, AuthError | MisconfiguredError | UnreachableError)
    found, said = (told, advice) if ours and stop else (error.message, "")
    remedy = " ".join(text for text in (_sentence(said), _remedy(error, cloud)) if text)
    call = f"{error.call}: " if error.call not in ("", "login") else ""
    data = {"error": type(error).__name__, "status": error.status, "call": error.call}
    return failure(what, f"{call}{status}{found}{trace}", remedy, subject=subject, data=data)


def _remedy(error: CloudError, cloud: CloudConfig) -> str:
    match error:
        case AuthError():
            return (
                f"`openstack --os-cloud {cloud.name} token issue` tries the same with another "
                "client. Where the account asks for a second factor (MFA), use an application "
                "credential or an API key: nobody types codes to a daemon"
            )
        case UnreachableError():
            url = cloud.auth.get("auth_url", "auth_url")
            return f"Is auth_url right, and does this host get there? `curl {url}` tries it"
        case CloudError(status=404):
            service = error.call.split(" ")[1] if " " in error.call else "SERVICE"
            return (
                "Is the URL of the catalog that of this service, and not of another product? "
                f"{service}_service_name or {service}_endpoint_override of {cloud.name} in "
                "clouds.yaml choose another"
            )
        case AnswerLostError() | CloudBrokenError():
            return (
                "Check again in a minute; if it stays so, its operators can find the call by the "
                "id in brackets or by its time"
            )
        case RetryLaterError():
            wait = f" {error.after_s:g} s" if error.after_s else ""
            return (
                f"Wait{wait} and check again; `limits` of a provider keeps Trellis below the rate"
            )
        case RejectedError():
            return "May this user do that? Compare with what another client is told"
        case MisconfiguredError() if ". " not in error.message:
            return _of_entry(cloud.name)
        case _:
            return ""


def _of_entry(name: str) -> str:
    return f"Correct the entry {name} of clouds.yaml"


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "?", "!")) else f"{text}."
