"""A check of a conversion: what Nodepool's files launch against what the trellis.yaml launches.

Both sides are brought down to facts, each side by a way of its own: labels, pools, flavors, images
and limits. A fact that differs without a `Change` that explains it is a fault of the conversion.
"""

import hashlib
import math
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from trellis.config import Configuration, as_plain
from trellis.config.durations import read_duration
from trellis.nodepool import model
from trellis.nodepool.merging import Placed
from trellis.nodepool.pool_blocks import connection
from trellis.nodepool.provider_blocks import (
    BOOT_TIMEOUT_S,
    LAUNCH_RETRIES,
    LAUNCH_TIMEOUT_S,
    PRIORITY,
)
from trellis.nodepool.recipes import CENTURY_S, calls_per_second, recipe, texts, variables
from trellis.nodepool.report import Change, Fact
from trellis.nodepool.site import Site, SiteProvider

Facts = dict[Fact, Any]

_HIDDEN = ("env-vars", "userdata", "instance-properties", "node-attributes", "properties")
"""Facts whose values are not shown: secrets may stand in them."""


@attrs.frozen(kw_only=True)
class Difference:
    """A fact that is not the same; None where it is not there.

    Attributes:
        explained: whether a change tells of it.
    """

    fact: Fact
    before: Any
    after: Any
    explained: bool

    def __str__(self) -> str:
        if self.fact[-1] in _HIDDEN:
            return f"{' '.join(self.fact)}: not the same"
        return f"{' '.join(self.fact)}: {self.before!r} with Nodepool, {self.after!r} here"


def compare(
    before: Site,
    after: Configuration,
    changes: Iterable[Change] = (),
    images: Mapping[str, str] | None = None,
) -> tuple[Difference, ...]:
    """Compare a site with the configuration that was made of it.

    Args:
        changes: what the conversion told of.
        images: how images are called there; by their own names if left out.
    """
    explained = {fact for change in changes for fact in change.explains}
    old, new = facts_of_site(before, images or {}), facts_of_configuration(after)
    return tuple(
        Difference(
            fact=fact, before=old.get(fact), after=new.get(fact), explained=fact in explained
        )
        for fact in dict.fromkeys((*old, *new))
        if not _same(old.get(fact), new.get(fact))
    )  # fmt: skip


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, float) or isinstance(new, float):
        return old is not None and new is not None and math.isclose(old, new, rel_tol=1e-4)
    return bool(old == new)


# ------------------------------------------------------------------------------ of Nodepool


def facts_of_site(site: Site, names: Mapping[str, str]) -> Facts:
    """What a Nodepool with these files launches, builds and limits."""
    facts: Facts = {}
    offered = set()
    for provider in site.providers:
        if provider.pools:
            facts |= _provider_before(provider)
        for pool in provider.pools:
            facts |= _pool_before(provider, pool.value)
            for label in pool.value.labels or ():
                offered.add(label.name)
                facts |= _offer_before(provider, pool, label, names)
    elsewhere = {name for other in site.others for name in other.labels} - offered
    for said in site.labels:
        top = said.value
        if top.name not in elsewhere:
            facts["label", top.name, "min-ready"] = max(0, top.min_ready or 0)
            facts["label", top.name, "max-ready-age"] = _age(top.max_ready_age)
    for tenant in site.tenants:
        for key in ("max-servers", "max-cores", "max-ram"):
            facts["tenant", tenant.name, key] = _limit(tenant.limits.get(key))
    held = site.settings.get("max_hold_age")
    facts["top", "max-hold-age"] = _age(held.value if held else None)
    kept = site.settings.get("build_log_retention")
    facts["top", "build-log-retention"] = kept.value if kept else 7
    return facts | _images_before(site, names)


def _provider_before(provider: SiteProvider) -> Facts:
    config = provider.said.value
    retries = LAUNCH_RETRIES if config.launch_retries is None else config.launch_retries
    bound = config.max_concurrency or 0
    upload = config.image_upload_timeout
    values = {
        "cloud": config.cloud,
        "region-name": config.region_name,
        "priority": PRIORITY if config.priority is None else config.priority,
        "boot-timeout": _time(config.boot_timeout, BOOT_TIMEOUT_S),
        "launch-timeout": _time(config.launch_timeout, LAUNCH_TIMEOUT_S),
        "launch-retries": max(1, retries),
        "max-concurrency": bound if bound > 0 else None,
        "image-upload-timeout": 0.0 if upload is None else _time(upload, 0),
        "calls-per-second": calls_per_second(config.rate),
    }
    return {("provider", provider.name, key): value for key, value in values.items()}


def _pool_before(provider: SiteProvider, pool: model.Pool) -> Facts:
    takes_none = provider.said.value.max_concurrency == 0
    values = {
        "max-servers": 0 if takes_none else _limit(pool.max_servers),
        "max-cores": _limit(pool.max_cores),
        "max-ram": _limit(pool.max_ram),
        "priority": pool.priority,
        "ignore-provider-quota": bool(pool.ignore_provider_quota),
        "auto-floating-ip": pool.auto_floating_ip is not False,
        "availability-zones": tuple(pool.availability_zones or ()),
        "security-groups": tuple(pool.security_groups or ()),
        "node-attributes": dict(pool.node_attributes or {}),
    }
    return {("pool", provider.name, pool.name, key): value for key, value in values.items()}


def _offer_before(
    provider: SiteProvider,
    placed: Placed[model.Pool],
    label: model.PoolLabel,
    names: Mapping[str, str],
) -> Facts:
    pool = placed.value
    image: Any = None
    if label.diskimage is not None:
        found = provider.image(label.diskimage)
        image = found.value if found is not None else None
        meant = ("built", names.get(label.diskimage, label.diskimage))
    else:
        cloud = provider.cloud_image(label.cloud_image or "")
        image = cloud.value if cloud is not None else None
        meant = ("cloud", image.external if image is not None else "")
    kind, port = ("ssh", 22) if image is None else connection(image)
    checked = label.host_key_checking
    checked = pool.host_key_checking is not False if checked is None else checked
    by_memory = label.min_ram is not None and (label.min_ram != 0 or label.flavor_name is None)
    values = {
        "image": meant,
        "flavor-name": label.flavor_name,
        "min-ram": label.min_ram if by_memory else None,
        "networks": tuple(pool.networks or () if label.networks is None else label.networks),
        "key-name": label.key_name or None,
        "userdata": _digest(label.userdata),
        "instance-properties": dict(label.instance_properties or {}),
        "config-drive": getattr(image, "config_drive", None),
        "boot-from-volume": label.boot_from_volume,
        "volume-size": label.volume_size,
        "host-key-checking": checked,
        "connection": (kind, port),
        "login": tuple(
            (value if (value := getattr(image, field, None)) != "auto" else None) or None
            for field in ("username", "python_path", "shell_type")
        ),
    }
    return {
        ("offer", provider.name, pool.name, label.name, key): value for key, value in values.items()
    }


def _images_before(site: Site, names: Mapping[str, str]) -> Facts:
    facts: Facts = {}
    by_name = {image.value.name: image.value for image in site.images}
    for name, image in by_name.items():
        if image.abstract:
            continue
        made, called = recipe(name, by_name), names.get(name, name)
        environment = {**made.env_vars, **site.secrets.get(name, {})}
        hooks = {
            provider.said.value.post_upload_hook or None
            for provider in site.providers
            if any(name == x.diskimage for p in provider.pools for x in p.value.labels or ())
        }
        values = {
            "elements": made.elements,
            "release": made.release or None,
            "build-command": made.build_command,
            "env-vars": variables(environment)[0],
            "formats": made.formats,
            "keep-formats": made.keep_formats,
            "delete-after-upload": made.delete_after_upload,
            "rebuild-age": _time(made.rebuild_age, 0),
            "build-timeout": _time(made.build_timeout, 0),
            "pause": made.pause,
            "login": (made.username, made.python_path, made.shell_type or None),
            "post-upload-hook": _quoted(next(iter(hooks))) if len(hooks) == 1 else None,
        }
        if len(hooks) > 1:
            values["post-upload-hook"] = "not the same at all providers"
        facts |= {("image", called, key): value for key, value in values.items()}
        for provider in site.providers:
            offers = any(
                name == label.diskimage for p in provider.pools for label in p.value.labels or ()
            )
            if offers:
                found = provider.image(name)
                meta = found.value.meta if found is not None else None
                properties = texts({**made.metadata, **(meta or {})})[0]
                facts["upload", called, provider.name, "properties"] = properties
    return facts


def _age(seconds: int | None) -> float:
    """Seconds, of which less than none means off, and more than can be said means never."""
    return float(min(max(0, seconds or 0), CENTURY_S))


def _time(seconds: int | None, usual: int) -> float:
    return float(min(usual if seconds is None else seconds, CENTURY_S))


def _limit(value: int | None) -> int | None:
    return None if value is None else max(0, value)


def _digest(text: str | None) -> str | None:
    return hashlib.sha256(text.encode()).hexdigest() if text else None


def _quoted(hook: str | None) -> tuple[str, ...] | None:
    return None if hook is None else (hook,)


# ------------------------------------------------------------------------------- of Trellis


def facts_of_configuration(configuration: Configuration) -> Facts:
    """What a Trellis with this configuration launches, builds and limits."""
    facts: Facts = {
        ("top", "max-hold-age"): float(configuration.max_hold_age),
        ("top", "build-log-retention"): configuration.build_log_retention,
    }
    for label in configuration.labels:
        facts["label", label.name, "min-ready"] = label.min_ready
        facts["label", label.name, "max-ready-age"] = float(label.max_ready_age)
    for tenant in configuration.tenants:
        for key in ("max-servers", "max-cores", "max-ram"):
            facts["tenant", tenant.name, key] = getattr(tenant, key.replace("-", "_"))
    images = {image.name: as_plain(image, masked=False) for image in configuration.images}
    for name, image in images.items():
        if not image["abstract"]:
            facts |= {("image", name, key): value for key, value in _image_after(image).items()}
    for provider in configuration.providers:
        plain = as_plain(provider, masked=False)
        facts |= _provider_after(plain)
        for pool in plain["pools"]:
            facts |= _pool_after(plain["name"], pool)
            for offer in pool["labels"]:
                facts |= _offer_after(plain["name"], pool, offer)
                if offer["image"] is not None:
                    metadata = images[offer["image"]]["metadata"]
                    properties = {**metadata, **plain.get("image-properties", {})}
                    facts["upload", offer["image"], plain["name"], "properties"] = properties
    return facts


def _image_after(image: Mapping[str, Any]) -> dict[str, Any]:
    hook = image["post-upload-hook"]
    return {
        "elements": tuple(image["elements"]),
        "release": image["release"],
        "build-command": image["build-command"],
        "env-vars": {**image["env-vars"], **image["secret-env-vars"]},
        "formats": tuple(image["formats"]),
        "keep-formats": tuple(image["keep-formats"]),
        "delete-after-upload": image["delete-after-upload"],
        "rebuild-age": float(read_duration(image["rebuild-age"])),
        "build-timeout": float(read_duration(image["build-timeout"])),
        "pause": image["pause"],
        "login": (image["username"], image["python-path"], image["shell-type"]),
        "post-upload-hook": None if hook is None else tuple(_words(hook)),
    }


def _words(command: str) -> list[str]:
    return shlex.split(command)


def _provider_after(provider: Mapping[str, Any]) -> Facts:
    values = {
        key: provider[key]
        for key in ("cloud", "region-name", "priority", "launch-retries", "max-concurrency")
    }
    for key in ("boot-timeout", "launch-timeout", "image-upload-timeout"):
        values[key] = float(read_duration(provider[key]))
    values["calls-per-second"] = provider["limits"]["calls-per-second"]
    return {("provider", provider["name"], key): value for key, value in values.items()}


def _pool_after(provider: str, pool: Mapping[str, Any]) -> Facts:
    values = {
        key: tuple(pool[key]) if isinstance(pool[key], list) else pool[key]
        for key in (
            "max-servers", "max-cores", "max-ram", "priority", "ignore-provider-quota",
            "auto-floating-ip", "availability-zones", "security-groups", "node-attributes",
        )
    }  # fmt: skip
    return {("pool", provider, pool["name"], key): value for key, value in values.items()}


def _offer_after(provider: str, pool: Mapping[str, Any], offer: Mapping[str, Any]) -> Facts:
    built = offer["image"]
    checked = offer["host-key-checking"]
    python = offer["python-path"]
    values = {
        "image": ("cloud", offer["cloud-image"]) if built is None else ("built", built),
        "userdata": _digest(offer["userdata"]),
        "networks": tuple(offer["networks"] or pool["networks"]),
        "host-key-checking": pool["host-key-checking"] if checked is None else checked,
        "connection": (offer["connection-type"], offer["connection-port"]),
        "login": (
            offer["username"], None if python == "auto" else python, offer["shell-type"],
        ),
    }  # fmt: skip
    for key in (
        "flavor-name", "min-ram", "key-name", "instance-properties", "config-drive",
        "boot-from-volume", "volume-size",
    ):  # fmt: skip
        values[key] = offer[key]
    return {("offer", provider, pool["name"], offer["name"], key): v for key, v in values.items()}
