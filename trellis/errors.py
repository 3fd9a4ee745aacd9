"""Every error Trellis raises on purpose, in one tree.

    TrellisError
    ├── ConfigError                  the configuration: all its faults, each with its place
    ├── PluginError                  a plugin that cannot be used
    ├── StoreError
    │   ├── ConflictError            somebody else wrote the record first
    │   ├── StoreInUseError          another daemon has the store
    │   ├── StoreMismatchError       newer schema, or another deployment's store
    │   └── StoreFailedError         the log cannot be written: the daemon ends
    │       └── FencedError          another incarnation has the store now
    ├── RefusedError                 a caller asks for what cannot be done; carries a remedy
    │   ├── UnknownIdError
    │   ├── KeyReusedError           the idempotency key was used for another body
    │   └── AlreadyDoneError
    ├── BuildError                   an image cannot be built: what failed, and what to do
    ├── TransitionError              a state change the table does not allow: a bug of ours
    └── CloudError                   what a provider may raise; part of the SPI
        ├── UnreachableError         no connection: the call was certainly not carried out
        ├── AnswerLostError          sent, and no answer: the call may have been carried out
        ├── CloudBrokenError         5xx, or an answer that makes no sense
        ├── AuthError                the credentials are refused
        ├── MisconfiguredError       the cloud lacks what the configuration names
        ├── RetryLaterError          a rate limit; carries the delay
        ├── QuotaExceededError       the project's quota is used up
        ├── NoCapacityError          the cloud has no room for this shape now
        ├── NotFoundError            the thing is not there
        ├── ConflictingStateError    409: not possible in the thing's present state
        └── RejectedError            the call itself is wrong: repeating it is pointless
            ├── StaleOfferError      a create names what the cloud no longer has: look it up anew
            └── UploadBrokenError    this attempt at an upload cannot go on; another one may

The leaf says what to *do*; callers ask by type and never look into a text.
"""

from collections.abc import Sequence


class TrellisError(Exception):
    """The root of all errors that Trellis raises on purpose."""


class ConfigError(TrellisError):
    """The configuration cannot be used.

    Args:
        faults: one line each, ``file:line:column: path: message``, in the order of the file.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class PluginError(TrellisError):
    """A plugin cannot be loaded or registered what it may not; the rest goes on without it."""


class TransitionError(TrellisError):
    """A record was asked to take a step that the table of transitions does not have."""


class BuildError(TrellisError):
    """An image cannot be built; the text says what failed, where, and what to do now."""


# ---------------------------------------------------------------------------- the store


class StoreError(TrellisError):
    """The store refuses or fails."""


class ConflictError(StoreError):
    """The record is not what the writer read: read again, decide again."""


class StoreInUseError(StoreError):
    """Another daemon holds this store; the message names it."""


class StoreMismatchError(StoreError):
    """The store was written by a newer release, or belongs to another deployment."""


class StoreFailedError(StoreError):
    """A commit could not be made durable. Nothing acknowledged is lost; the daemon ends."""


class FencedError(StoreFailedError):
    """A later incarnation of the daemon has the store: nothing this one writes takes effect."""


# ------------------------------------------------------------------------- the callers


class RefusedError(TrellisError):
    """What a caller asks cannot be done.

    Args:
        message: what is wrong.
        remedy: what the caller can do about it.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class UnknownIdError(RefusedError):
    """There is no request, lease, node or provider of this id or name."""


class KeyReusedError(RefusedError):
    """The requestor used this idempotency key for another body within the last day."""


class AlreadyDoneError(RefusedError):
    """The thing has moved on: it can no longer be cancelled, held or changed like this."""


# -------------------------------------------------------------------------- the clouds


class CloudError(TrellisError):
    """A call to a cloud did not do what it should.

    Args:
        message: what the cloud said, in one line, without secrets.
        cloud: name of the account at which it happened.
        call: the call, as ``POST compute /servers``.
        status: HTTP status, if there was an answer.
        cloud_request_id: the cloud's own id for the call (``x-openstack-request-id``),
            which its operators ask for.
    """

    def __init__(
        self,
        message: str,
        *,
        cloud: str = "",
        call: str = "",
        status: int | None = None,
        cloud_request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.cloud = cloud
        self.call = call
        self.status = status
        self.cloud_request_id = cloud_request_id

    def __str__(self) -> str:
        where = f"{self.cloud}: " if self.cloud else ""
        call = f"{self.call}: " if self.call else ""
        status = f"{self.status} " if self.status else ""
        trace = f" [{self.cloud_request_id}]" if self.cloud_request_id else ""
        return f"{where}{call}{status}{self.message}{trace}"


class UnreachableError(CloudError):
    """No connection could be made, so the call was certainly not carried out."""


class AnswerLostError(CloudError):
    """The call was sent and no whole answer came: it may have been carried out."""


class CloudBrokenError(CloudError):
    """The cloud failed (5xx) or answered with what cannot be understood.

    A 5xx to a call that changes something leaves it open whether it was carried out.
    """


class AuthError(CloudError):
    """The cloud refuses the credentials, or the token it gave."""


class MisconfiguredError(CloudError):
    """The cloud lacks what the configuration names: region, service, flavor, image, network."""


class RetryLaterError(CloudError):
    """A rate limit of the cloud.

    Args:
        after_s: seconds to wait, as the cloud asked; None if it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        after_s: float | None = None,
        cloud: str = "",
        call: str = "",
        status: int | None = None,
        cloud_request_id: str = "",
    ) -> None:
        super().__init__(
            message, cloud=cloud, call=call, status=status, cloud_request_id=cloud_request_id
        )
        self.after_s = after_s


class QuotaExceededError(CloudError):
    """The project's quota does not allow it now; not the node's fault."""


class NoCapacityError(CloudError):
    """The cloud cannot place this shape now (*No valid host*); not the node's fault."""


class NotFoundError(CloudError):
    """The thing does not exist in this project."""


class ConflictingStateError(CloudError):
    """The thing is in a state that does not allow the call; it may later."""


class RejectedError(CloudError):
    """The call is wrong in itself: the same call will be refused again."""


class StaleOfferError(RejectedError):
    """A create names a flavor, image, network or zone that the cloud no longer has.

    Not the node's fault: its label is to be looked up anew before the next create.
    """


class UploadBrokenError(RejectedError):
    """An attempt at an upload cannot go on, as what there is of it is half written or wrong."""
