"""What every provider has in the configuration file; a plugin's classes derive from these.

A configuration class is a frozen attrs class, keyword only. A field ``boot_timeout`` is the
key ``boot-timeout`` in the file. Its type says what may stand there: ``str``, ``int``,
``float``, ``bool``, `Seconds`, ``Literal``, an enum, another configuration class, a class with
``from_text`` (see `FromText`), ``tuple[X, ...]``, ``Mapping[str, X]``, and ``X | None``. A field
with ``repr=False`` is a secret: it is never shown. The ``Attributes:`` of the class docstring
are the reference documentation of its keys.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NewType, Protocol, Self, TypeVar

import attrs

from trellis.model.node import Login

Seconds = NewType("Seconds", float)
"""A duration. In the file ``90``, ``90s``, ``8h`` or ``1h30m``."""

_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

NOT_OF_THE_NODE: Final = {"makes_node": False}
"""Metadata of a field that may change without making nodes any different: limits, time-outs."""


class FromText(Protocol):
    """A value that is written as one text in the file."""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read it.

        Raises:
            ValueError: it cannot be read; the text says what is wrong and what to write.
        """
        ...

    def __str__(self) -> str: ...


def at_least(least: float) -> Callable[[Any, Any, Any], None]:
    """Refuse a number (or duration) below *least*; None passes."""

    def check(_instance: object, _field: object, value: float | None) -> None:
        if value is not None and value < least:
            raise ValueError(f"must be at least {least:g}, not {value:g}")

    return check


def at_most(most: float) -> Callable[[Any, Any, Any], None]:
    """Refuse a number (or duration) above *most*; None passes."""

    def check(_instance: object, _field: object, value: float | None) -> None:
        if value is not None and value > most:
            raise ValueError(f"must be at most {most:g}, not {value:g}")

    return check


def above_zero(_instance: object, _field: object, value: float | None) -> None:
    """Refuse a number (or duration) that is not above zero; None passes."""
    if value is not None and value <= 0:
        raise ValueError(f"must be above 0, not {value:g}")


def not_empty(_instance: object, _field: object, value: str) -> None:
    """Refuse an empty text, or one of white space only."""
    if not value.strip():
        raise ValueError("must not be empty")


def file_name(_instance: object, _field: object, value: str) -> None:
    """Refuse a name that files cannot be called by."""
    if not _FILE_NAME.fullmatch(value):
        raise ValueError(
            f"{value[:60]!r} cannot be the name of files: at most 100 letters, digits, dots, "
            "dashes and underscores, the first of them a letter or digit"
        )


@attrs.frozen(kw_only=True)
class PoolLabelConfig:
    """A label that a pool offers.

    Attributes:
        name: the label, one of the top-level ``labels``.
        image: the image, one of the top-level ``images``, built here and uploaded.
        username: the user to log in as.
        connection_type: how to connect: ``ssh`` unless the image has something else.
        connection_port: the port to connect to.
        python_path: the Python of the image; ``auto`` lets the requestor find it.
        shell_type: the shell of the image, for requestors that must know it.
        max_servers: most nodes of the label in this pool at a time; no limit if left out.
        host_key_checking: whether to connect and read host keys before a node is ready; the
            pool's setting if left out.
        console_log: whether the end of a server's console is read when its launch has failed,
            logged, and shown by ``trellis node explain``.
    """

    name: str = attrs.field(validator=not_empty)
    image: str | None = None
    username: str | None = None
    connection_type: str = attrs.field(default="ssh", validator=not_empty)
    connection_port: int = attrs.field(default=22, validator=(at_least(1), at_most(65535)))
    python_path: str = attrs.field(default="auto", validator=not_empty)
    shell_type: str | None = None
    max_servers: int | None = attrs.field(
        default=None, validator=at_least(0), metadata=NOT_OF_THE_NODE
    )
    host_key_checking: bool | None = None
    console_log: bool = attrs.field(default=False, metadata=NOT_OF_THE_NODE)


@attrs.frozen(kw_only=True)
class PoolConfig:
    """A slice of a provider, with limits of its own.

    Attributes:
        name: name of the pool, unique in its provider.
        labels: the labels it offers.
        priority: pools with lower numbers are used first, whatever their provider, as long as
            they have room; the provider's if left out.
        weight: its share of the provider's nodes where several of its pools can take one. Where
            no pool has one, the first with room is used; where some have, the others count 1.
        max_servers: most servers at a time; no limit if left out, and 0 launches nothing.
        max_cores: most cores at a time.
        max_ram: most memory at a time, in MiB.
        ignore_provider_quota: True where the cloud's own quota figures are wrong.
        host_key_checking: whether to connect to nodes and read their host keys before they are
            ready. False hands nodes out unproved.
        node_attributes: handed on with each node, as they are.
    """

    name: str = attrs.field(validator=not_empty, metadata=NOT_OF_THE_NODE)
    labels: tuple[PoolLabelConfig, ...] = attrs.field(default=(), metadata=NOT_OF_THE_NODE)
    priority: int | None = attrs.field(
        default=None, validator=at_least(0), metadata=NOT_OF_THE_NODE
    )
    weight: float | None = attrs.field(default=None, validator=above_zero, metadata=NOT_OF_THE_NODE)
    max_servers: int | None = attrs.field(
        default=None, validator=at_least(0), metadata=NOT_OF_THE_NODE
    )
    max_cores: int | None = attrs.field(
        default=None, validator=at_least(0), metadata=NOT_OF_THE_NODE
    )
    max_ram: int | None = attrs.field(default=None, validator=at_least(0), metadata=NOT_OF_THE_NODE)
    ignore_provider_quota: bool = attrs.field(default=False, metadata=NOT_OF_THE_NODE)
    host_key_checking: bool = True
    node_attributes: Mapping[str, str] = attrs.field(factory=dict, metadata=NOT_OF_THE_NODE)

    def label(self, name: str) -> PoolLabelConfig | None:
        """The label of this name, if the pool offers it."""
        return next((label for label in self.labels if label.name == name), None)

    def launches(self, label: PoolLabelConfig) -> bool:
        """Whether its limits let any node of this pool and label be launched: 0 lets none."""
        return 0 not in (self.max_servers, self.max_cores, self.max_ram, label.max_servers)

    def login(self, label: PoolLabelConfig) -> Login:
        """How to log in to a node of this pool and label."""
        checked = label.host_key_checking
        return Login(
            connection_type=label.connection_type,
            connection_port=label.connection_port,
            username=label.username,
            python_path=label.python_path,
            shell_type=label.shell_type,
            host_key_checking=self.host_key_checking if checked is None else checked,
        )


DEFAULT_BUILDER: Final = "diskimage-builder"
APPENDED: Final = "appended"
MERGED: Final = "merged"
OWN: Final = "own"
"""How a field of an image is inherited from its parent: the parent's list goes before, the
parent's mapping lies under, or not at all; all others take the parent's value if left out."""


@attrs.frozen(kw_only=True)
class DemandSourceConfig:
    """Where demand comes from, beside the REST face, which is always there.

    A source's own keys stand in a class that derives from this one.

    Attributes:
        name: the source; shown in lists, logs and metrics.
        type: its kind, as a plugin registers it (``trellis plugin list``).
    """

    name: str = attrs.field(validator=not_empty)
    type: str = attrs.field(validator=not_empty)


@attrs.frozen(kw_only=True)
class ImageConfig:
    """An image that is built here and uploaded to every provider whose labels name it.

    A builder's own keys stand in a class that derives from this one. What a field's metadata
    calls ``inherit`` is how it is taken from the parent.

    Attributes:
        name: the image.
        type: kind of its builder, as a plugin registers it (``trellis plugin list``).
        parent: another image, whose keys it takes where it has none of its own.
        abstract: true makes it a parent only, never built itself.
        formats: formats to build besides those that its providers need.
        rebuild_age: it is built anew when older than this; 0 rebuilds it only when asked to.
        build_timeout: longest time of one build.
        build_room_mib: MiB that have to be free for a build; if left out, what the builder says
            that it needs, else three times what the last build took, 2 GiB at least.
        pause: true stops builds of it.
        metadata: properties of the uploaded image.
        visibility: of the uploaded image: ``private``, ``shared``, ``community`` or ``public``;
            the cloud's own choice if left out.
        keep_builds: so many ready builds are kept, the newest ones.
        keep_uploads: so many good uploads are kept at each provider, the newest ones.
        keep_formats: formats whose files stay here; those of the others are deleted once every
            provider has them, if ``delete-after-upload`` says so.
        delete_after_upload: whether files are deleted here once every provider has them.
        post_upload_hook: a command that is run after each upload, with the provider's name, the
            image's id in the cloud and the file's path as its arguments.
        canary_share: share of launches that a new upload serves until it is promoted; 0 promotes
            it at once.
        canary_nodes: so many of its nodes have to become ready for that.
        canary_quiet: where that takes longer than this, nodes are launched for it.
        username: user to log in as on its nodes.
        python_path: Python on its nodes, for Ansible.
        shell_type: shell on its nodes, for Ansible.
        connection_type: how its nodes are reached.
        connection_port: port at which its nodes are reached.
    """

    name: str = attrs.field(validator=(not_empty, file_name))
    type: str = attrs.field(default=DEFAULT_BUILDER, metadata=NOT_OF_THE_NODE)
    parent: str | None = attrs.field(default=None, metadata={"inherit": OWN})
    abstract: bool = attrs.field(default=False, metadata={"inherit": OWN})
    formats: tuple[str, ...] = attrs.field(default=(), metadata=NOT_OF_THE_NODE)
    rebuild_age: Seconds = attrs.field(
        default=Seconds(86_400), validator=at_least(0), metadata=NOT_OF_THE_NODE
    )
    build_timeout: Seconds = attrs.field(
        default=Seconds(28_800), validator=above_zero, metadata=NOT_OF_THE_NODE
    )
    build_room_mib: int | None = attrs.field(
        default=None, validator=at_least(0), metadata=NOT_OF_THE_NODE
    )
    pause: bool = attrs.field(default=False, metadata={**NOT_OF_THE_NODE, "inherit": OWN})
    metadata: Mapping[str, str] = attrs.field(
        factory=dict, metadata={**NOT_OF_THE_NODE, "inherit": OWN}
    )
    visibility: Literal["private", "shared", "community", "public"] | None = attrs.field(
        default=None, metadata=NOT_OF_THE_NODE
    )
    keep_builds: int = attrs.field(default=2, validator=at_least(1), metadata=NOT_OF_THE_NODE)
    keep_uploads: int = attrs.field(default=2, validator=at_least(1), metadata=NOT_OF_THE_NODE)
    keep_formats: tuple[str, ...] = attrs.field(default=(), metadata=NOT_OF_THE_NODE)
    delete_after_upload: bool = attrs.field(default=False, metadata=NOT_OF_THE_NODE)
    post_upload_hook: str | None = attrs.field(default=None, metadata=NOT_OF_THE_NODE)
    canary_share: float = attrs.field(
        default=0.05, validator=(at_least(0), at_most(1)), metadata=NOT_OF_THE_NODE
    )
    canary_nodes: int = attrs.field(default=5, validator=at_least(1), metadata=NOT_OF_THE_NODE)
    canary_quiet: Seconds = attrs.field(
        default=Seconds(7200), validator=above_zero, metadata=NOT_OF_THE_NODE
    )
    username: str = "zuul"
    python_path: str = "auto"
    shell_type: str | None = None
    connection_type: str = "ssh"
    connection_port: int = attrs.field(default=22, validator=(at_least(1), at_most(65535)))

    @property
    def login(self) -> Login:
        """How to log in to its nodes."""
        return Login(
            connection_type=self.connection_type,
            connection_port=self.connection_port,
            username=self.username,
            python_path=self.python_path,
            shell_type=self.shell_type,
        )


@attrs.frozen(kw_only=True)
class ApiLimits:
    """How fast the cloud's API may be called; shared by all providers of one account.

    Attributes:
        calls_per_second: calls to one service in a second, on average.
        burst: calls that may be made at once after a pause.
        creates_per_day: servers that may be created in 24 hours.
    """

    calls_per_second: float | None = attrs.field(default=None, validator=above_zero)
    burst: int | None = attrs.field(default=None, validator=at_least(1))
    creates_per_day: int | None = attrs.field(default=None, validator=at_least(1))


@attrs.frozen(kw_only=True)
class ProviderConfig:
    """One region of one cloud account, and what may be launched there.

    Attributes:
        name: name of the provider, unique in the file; nodes and records carry it.
        type: kind of the provider, as a plugin registers it (``trellis plugin list``).
        cloud: name of the cloud in ``clouds.yaml``.
        region_name: region of the cloud; may be left out where the cloud has only one.
        pools: slices of the provider.
        priority: providers with lower numbers are used first, as long as they have room.
        weight: its share of the nodes where several providers of one priority can take a
            request. Where no provider has one, each is filled in proportion to its room; where
            some have, the others count 1.
        boot_timeout: longest time from active to answering.
        launch_timeout: longest time of one launch, from the create to ready.
        launch_retries: launches that may fail for one slot of a request before the request is
            planned elsewhere; those refused for quota or capacity do not count.
        create_settle: how long a create without an answer stays in doubt.
        sweep: what is done about leaks: ``report`` or ``delete``.
        api_timeout: longest time of one call to the cloud, with its tries.
        max_concurrency: most launches at a time; as many as are needed if left out.
        upload_workers: images uploaded at the same time.
        image_upload_timeout: longest time of one upload; 0 goes by its size and by how fast
            uploads went there lately.
        limits: how fast the cloud's API may be called; learnt from its answers if left out.
    """

    name: str = attrs.field(validator=not_empty, metadata=NOT_OF_THE_NODE)
    type: str = attrs.field(validator=not_empty)
    cloud: str = attrs.field(validator=not_empty)
    region_name: str | None = None
    pools: tuple[PoolConfig, ...] = attrs.field(default=(), metadata=NOT_OF_THE_NODE)
    priority: int = attrs.field(default=100, validator=at_least(0), metadata=NOT_OF_THE_NODE)
    weight: float | None = attrs.field(default=None, validator=above_zero, metadata=NOT_OF_THE_NODE)
    boot_timeout: Seconds = attrs.field(
        default=Seconds(120), validator=above_zero, metadata=NOT_OF_THE_NODE
    )
    launch_timeout: Seconds = attrs.field(
        default=Seconds(600), validator=above_zero, metadata=NOT_OF_THE_NODE
    )
    launch_retries: int = attrs.field(default=3, validator=at_least(1), metadata=NOT_OF_THE_NODE)
    create_settle: Seconds = attrs.field(
        default=Seconds(120), validator=above_zero, metadata=NOT_OF_THE_NODE
    )
    sweep: Literal["report", "delete"] = attrs.field(default="report", metadata=NOT_OF_THE_NODE)
    api_timeout: Seconds = attrs.field(
        default=Seconds(60), validator=above_zero, metadata=NOT_OF_THE_NODE
    )
    max_concurrency: int | None = attrs.field(
        default=None, validator=at_least(1), metadata=NOT_OF_THE_NODE
    )
    upload_workers: int = attrs.field(default=1, validator=at_least(1), metadata=NOT_OF_THE_NODE)
    image_upload_timeout: Seconds = attrs.field(
        default=Seconds(0), validator=at_least(0), metadata=NOT_OF_THE_NODE
    )
    limits: ApiLimits = attrs.field(factory=ApiLimits, metadata=NOT_OF_THE_NODE)

    def pool(self, name: str) -> PoolConfig | None:
        """The pool of this name, if there is one."""
        return next((pool for pool in self.pools if pool.name == name), None)


C = TypeVar("C", bound=ProviderConfig)


def with_defaults(base: type[C], name: str, defaults: Mapping[str, Any]) -> type[C]:
    """A configuration class with other defaults: what suits a cloud and can be written over.

    Args:
        base: the class with the keys.
        name: of the new class.
        defaults: by field.

    Raises:
        TypeError: *base* has no such field.
    """
    fields = attrs.fields_dict(base)
    if unknown := sorted(set(defaults) - set(fields)):
        raise TypeError(f"{base.__name__} has no key {', '.join(unknown)}")
    made: type[C] = attrs.make_class(
        name,
        {
            key: attrs.field(
                default=value,
                validator=fields[key].validator,
                repr=fields[key].repr,
                type=fields[key].type,
                metadata=dict(fields[key].metadata),
            )
            for key, value in defaults.items()
        },
        bases=(base,),
        slots=True,
        frozen=True,
        kw_only=True,
        class_body={"__doc__": base.__doc__, "__module__": base.__module__},
    )
    return made
