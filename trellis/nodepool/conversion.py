"""From a Nodepool site to the text of a trellis.yaml, and all that it does not carry over."""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from trellis.config.durations import write_duration
from trellis.nodepool.image_blocks import ImageBlocks
from trellis.nodepool.provider_blocks import ProviderBlocks
from trellis.nodepool.recipes import CENTURY_S, image_names, recipe
from trellis.nodepool.report import Change, Kind, dotted
from trellis.nodepool.site import Setting, Site
from trellis.nodepool.telling import Telling
from trellis.nodepool.uploads import uploads_of
from trellis.nodepool.writing import Block, printed, shown_key

ZOOKEEPER_PORT: Final = 2281
_LEAST_TIMEOUT_S: Final = 1.0
_MOST_TIMEOUT_S: Final = 600.0
_TENANT_LIMITS: Final = ("max-servers", "max-cores", "max-ram")
_ON_NODEPOOL: Final = {
    "static": "static nodes stay with Nodepool",
    "metastatic": "metastatic nodes stay with Nodepool",
    "fake": "its name begins with `fake`, which is Nodepool's driver for tests",
}


@attrs.frozen(kw_only=True)
class Converted:
    """A conversion.

    Attributes:
        text: of the trellis.yaml. May hold secrets: variables of builds, user data.
        changes: all that is not as it was, in the order of the result.
        images: how each image is called here.
    """

    text: str = attrs.field(repr=False)
    changes: tuple[Change, ...]
    images: Mapping[str, str]


def convert(
    site: Site,
    *,
    deployment: str = "ci-main",
    types: Mapping[str, str] | None = None,
    demand: bool = True,
) -> Converted:
    """Make a trellis.yaml of a site.

    Args:
        deployment: whose nodes these will be. With the name of a launcher's file behind it, if
            the site is of one alone.
        types: of providers, by the cloud in clouds.yaml; others are ``openstack``.
        demand: False leaves out where demand comes from.
    """
    conversion = _Conversion(site, dict(types or {}))
    text = conversion.document(_deployment(deployment, site.name), demand=demand).render()
    return Converted(text=text, changes=tuple(conversion.telling.changes), images=conversion.names)


def _deployment(deployment: str, launcher: str) -> str:
    return f"{deployment[:23]}-{launcher}" if launcher else deployment


class _Conversion:
    def __init__(self, site: Site, types: Mapping[str, str]) -> None:
        self._site, self._types = site, types
        self.telling = Telling()
        by_name = {image.value.name: image.value for image in site.images}
        self.names = image_names(tuple(by_name))
        recipes = {
            name: recipe(name, by_name) for name, image in by_name.items() if not image.abstract
        }
        self._uploads = uploads_of(site, recipes)

    def document(self, deployment: str, *, demand: bool) -> Block:
        block = Block()
        files = ", ".join(file.replace("\\", "/").split("/")[-1] for file in self._site.files)
        block.say(f"Made by `trellis config import-nodepool` of {printed(files)}.")
        block.say("Comments tell of what Nodepool's files have and this one cannot have.")
        block.space()
        block.say("On every tag in the clouds: choose it now, for it must not change.")
        block["deployment"] = deployment
        self._top(block)
        if demand:
            self._demand(block)
        self._stays(block)
        self._labels(block)
        self._tenants(block)
        self._images(block)
        self._providers(block)
        self._in_general()
        return block

    # ---------------------------------------------------------------------------- the top

    def _setting(self, field: str) -> Setting | None:
        return self._site.settings.get(field)

    def _tell(
        self,
        block: Block,
        setting: Setting,
        message: str,
        *,
        kind: Kind = Kind.DIFFERS,
        fact: str = "",
    ) -> None:
        key = str(setting.path[-1])
        block.say(f"Nodepool's `{shown_key(key, setting.value)}`: {message}")
        self.telling.changes.append(
            Change(
                kind=kind, message=message, place=setting.source.place(setting.path),
                path=dotted(setting.path), key=key,
                explains=(("top", fact),) if fact else (),
            )
        )  # fmt: skip

    def _top(self, block: Block) -> None:
        if (held := self._setting("max_hold_age")) and held.value > 0:
            block["max-hold-age"] = write_duration(min(held.value, CENTURY_S))
        for field, own in (("images_dir", True), ("elements_dir", False), ("build_log_dir", True)):
            setting = self._setting(field)
            if setting is None:
                continue
            path = str(setting.value)
            block[field.replace("_", "-")] = f"{path.rstrip('/')}/trellis" if own else path
            if own:
                message = "a folder of its own below, as either tidies away the other's files"
                self._tell(block, setting, message)
            if not all(part.startswith("/") for part in path.split(":" if not own else "\0")):
                message = "a relative path is taken from the folder of this file here"
                self._tell(block, setting, message)
        if kept := self._setting("build_log_retention"):
            block["build-log-retention"] = max(1, kept.value)
            if kept.value < 1:
                message = "one log at least is kept"
                self._tell(block, kept, message, fact="build-log-retention")
        if webapp := self._setting("webapp"):
            message = "the web face of Trellis is another one, and listens on loopback (`web`)"
            self._tell(block, webapp, message, kind=Kind.NO_EQUAL)

    def _demand(self, block: Block) -> None:
        servers = self._setting("zookeeper_servers")
        if servers is None:
            self.telling.general(
                "the files name no zookeeper-servers, so no demand comes from Zuul: give the "
                "secure file too, or write demand-sources",
                kind=Kind.TO_DO,
            )
            return
        source = Block()
        source["name"] = "zuul"
        source["type"] = "zuul"
        hosts: list[dict[str, Any]] = []
        # It may stand at the last server alone, and holds for all.
        chroot = next((one.tree for one in servers.value if one.tree), "")
        for server in servers.value:
            host = {"host": server.host, "port": server.port or ZOOKEEPER_PORT}
            hosts.append(host | ({"chroot": chroot} if chroot else {}))
        source["zookeeper-servers"] = hosts
        if tls := self._setting("zookeeper_tls"):
            files = {"cert": tls.value.cert, "key": tls.value.key, "ca": tls.value.ca}
            source["zookeeper-tls"] = files
            self.telling.general(
                "certificates of ZooKeeper's servers have to be for the names by which they are "
                "reached, which Nodepool did not look at: where they are not, write "
                "check-name: false beside their ca",
                kind=Kind.DIFFERS,
            )
        else:
            self.telling.general(
                "the files name no zookeeper-tls, without which Nodepool connects to nothing, so "
                "connections will be plain: give the secure file too, or write zookeeper-tls",
                kind=Kind.TO_DO,
            )
        if timeout := self._setting("zookeeper_timeout"):
            kept = min(max(_LEAST_TIMEOUT_S, timeout.value), _MOST_TIMEOUT_S)
            source["zookeeper-timeout"] = kept
            if kept != timeout.value:
                bounds = f"{_LEAST_TIMEOUT_S:g} s to {_MOST_TIMEOUT_S:g} s"
                self._tell(source, timeout, f"{bounds} can be kept")
        block.space()
        block["demand-sources"] = [source]

    # ------------------------------------------------------------------- what stays, and labels

    def _stays(self, block: Block) -> None:
        block.space()
        for provider in self._site.others:
            message = _ON_NODEPOOL.get(
                provider.driver, f"Trellis has no driver {printed(provider.driver)!r}"
            )
            message = f"provider {printed(provider.name)} stays with Nodepool: {message}"
            labels = ", ".join(map(printed, provider.labels))
            labels = f"; labels: {labels}" if labels else ""
            block.say(message + labels)
            self._change(Kind.STAYS, message + labels, provider.source.place(provider.path))
            ours = [name for name in provider.backing if name in self._offered]
            if ours:
                message = (
                    f"label {', '.join(map(printed, ours))}: nodes of provider "
                    f"{printed(provider.name)} stand on it, and ask for it as Zuul does"
                )
                self._change(Kind.DIFFERS, message, provider.source.place(provider.path))
        for one in self._site.providers:
            if not one.pools:
                said = one.said
                message = f"provider {printed(one.name)} has no pools in the files given"
                block.say(f"{message}: left out, as it launches nothing")
                self.telling.say(
                    None, said, "", f"{message}: left out, as it launches nothing; if a launcher "
                    "has some, give its file too",
                    kind=Kind.NO_EQUAL,
                )  # fmt: skip

    def _change(self, kind: Kind, message: str, place: str) -> None:
        self.telling.changes.append(Change(kind=kind, message=message, place=place))

    @property
    def _offered(self) -> set[str]:
        return {
            label.name
            for provider in self._site.providers
            for pool in provider.pools
            for label in pool.value.labels or ()
        }

    def _labels(self, block: Block) -> None:
        block.space()
        elsewhere = {name for provider in self._site.others for name in provider.labels}
        blocks = []
        for said in self._site.labels:
            label, one = said.value, Block()
            if label.name in elsewhere and label.name not in self._offered:
                message = "stays with Nodepool, which alone has nodes of it"
                block.say(f"label {printed(label.name)}: {message}")
                self.telling.say(
                    None, said, "", f"label {printed(label.name)} {message}", kind=Kind.STAYS
                )
                continue
            one["name"] = label.name
            if (ready := label.min_ready or 0) > 0:
                one["min-ready"] = ready
            if (age := label.max_ready_age or 0) > 0:
                one["max-ready-age"] = write_duration(min(age, CENTURY_S))
            if label.name in elsewhere:
                self.telling.say(
                    one, said, "",
                    f"label {printed(label.name)}: Nodepool goes on offering it too; set its "
                    "min-ready to 0 there",
                    kind=Kind.TO_DO, comment="",
                )  # fmt: skip
            blocks.append(one)
        block["labels"] = blocks

    def _tenants(self, block: Block) -> None:
        if not self._site.tenants:
            return
        blocks = []
        for tenant in self._site.tenants:
            one = Block()
            one["name"] = tenant.name
            for key, value in tenant.limits.items():
                if key in _TENANT_LIMITS:
                    one[key] = max(0, value)
                    continue
                message = "no limit of this kind is kept for tenants"
                one.say(f"Nodepool's `{shown_key(key, value)}`: {message}")
                path = (*tenant.path, key)
                self.telling.changes.append(
                    Change(
                        kind=Kind.NO_EQUAL, message=message, place=tenant.source.place(path),
                        path=dotted(path), key=key,
                    )
                )  # fmt: skip
            blocks.append(one)
        block.space()
        block["tenants"] = blocks

    # ------------------------------------------------------------------- images and providers

    def _images(self, block: Block) -> None:
        images = ImageBlocks(
            site=self._site, names=self.names, uploads=self._uploads, telling=self.telling
        ).blocks()
        if images:
            block.space()
            block["images"] = images

    def _providers(self, block: Block) -> None:
        providers = ProviderBlocks(
            site=self._site, names=self.names, uploads=self._uploads,
            types=self._types, telling=self.telling,
        ).blocks()  # fmt: skip
        block.space()
        block["providers"] = providers

    def _in_general(self) -> None:
        telling = self.telling
        for conflict in self._site.conflicts:
            telling.changes.append(
                Change(
                    kind=Kind.DIFFERS, place=conflict.place, path=dotted(conflict.path),
                    key=str(conflict.path[-1]),
                    message=f"the files differ; what counts is at {conflict.counts}",
                )
            )  # fmt: skip
        launching = any(provider.pools for provider in self._site.providers)
        if launching:
            telling.general(
                "servers are called tr and a number, not np and a number; their metadata has "
                "trellis_ keys in place of nodepool_ ones, and no `groups`"
            )
            telling.general(
                "leaked servers are reported until a provider has `sweep: delete`; Nodepool "
                "deleted them"
            )
            clouds = {
                provider.said.value.cloud
                for provider in self._site.providers
                if provider.pools and provider.said.value.cloud not in self._types
            }
            if clouds:
                telling.general(
                    f"providers of {', '.join(sorted(map(printed, clouds)))} have the type "
                    "openstack: where a plugin knows the cloud (`trellis plugin list`), give its "
                    "type by --type CLOUD=TYPE"
                )
        if self._site.secrets:
            telling.general(
                "variables of the secure file stand in the result itself (`secret-env-vars`): "
                "let the daemon's user alone read it"
            )
        if self._uploads.wanted and self._site.name:
            telling.general(
                "each daemon builds the images of its own labels: builders are not shared"
            )
        if self._uploads.wanted:
            telling.general(
                "images are built and uploaded anew: those of Nodepool are not taken over, and "
                "nothing is launched of an image before its first upload"
            )
            telling.general(
                "a new upload serves a few launches until it has proved good (`canary-share`); "
                "with Nodepool it served all at once"
            )


def clean_deployment(text: str) -> bool:
    """Whether a deployment can be called so: as `trellis.config.configuration` checks it."""
    return re.fullmatch(r"[A-Za-z0-9-]{1,64}", text) is not None
