"""``pools:`` of a provider, and their labels."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from trellis.nodepool import model
from trellis.nodepool.merging import Placed
from trellis.nodepool.recipes import texts
from trellis.nodepool.report import Kind
from trellis.nodepool.site import SiteProvider
from trellis.nodepool.telling import Telling
from trellis.nodepool.writing import Block

_USER_DATA_MOST: Final = 65535 // 4 * 3
_METADATA_MOST: Final = 255
_OURS: Final = "trellis_"
_PORTS: Final = {"ssh": 22, "winrm": 5986}


@attrs.frozen(kw_only=True)
class PoolBlocks:
    """Makes the block of each pool of a provider.

    Attributes:
        names: how images are called here.
    """

    provider: SiteProvider
    names: Mapping[str, str]
    telling: Telling

    def blocks(self) -> list[Block]:
        """All of them."""
        return [self._block(pool) for pool in self.provider.pools]

    def _block(self, said: Placed[model.Pool]) -> Block:
        pool, block = said.value, Block()
        block["name"] = pool.name
        takes_none = self.provider.said.value.max_concurrency == 0
        limits = {"max-servers": 0 if takes_none else pool.max_servers}
        limits |= {"max-cores": pool.max_cores, "max-ram": pool.max_ram}
        for key, value in limits.items():
            if value is not None:
                # Below 0 takes no requests either (`nodepool/driver/__init__.py`).
                block[key] = max(0, value)
        if pool.priority is not None:
            block["priority"] = max(0, pool.priority)
            if pool.priority < 0:
                message = "no priority is below 0 here"
                fact = ("pool", self.provider.name, pool.name, "priority")
                self.telling.say(block, said, "priority", message, explains=(fact,))
        for field in ("ignore_provider_quota", "auto_floating_ip", "host_key_checking"):
            if (value := getattr(pool, field)) is not None:
                block[field.replace("_", "-")] = value
        for field in ("availability_zones", "security_groups"):
            if value := getattr(pool, field):
                block[field.replace("_", "-")] = list(value)
        networks_here = not _has_label_without_networks(pool)
        if pool.networks and networks_here:
            block["networks"] = list(pool.networks)
        self._attributes(block, said)
        for field in ("max_volumes", "max_volume_gb"):
            message = "volumes are bounded by the cloud's quota alone"
            self.telling.drop(block, said, field, message)
        labels = [
            self._label(
                Placed(value=label, source=said.source, path=(*said.path, "labels", i)),
                said,
                networks_here=networks_here,
            )
            for i, label in enumerate(pool.labels or ())
        ]
        block["labels"] = labels
        return block

    def _attributes(self, block: Block, said: Placed[model.Pool]) -> None:
        pool = said.value
        given, refused = texts(pool.node_attributes or {})
        if given:
            block["node-attributes"] = given
        fact = ("pool", self.provider.name, pool.name, "node-attributes")
        changed = [k for k, v in (pool.node_attributes or {}).items() if given.get(k, v) != v]
        if changed:
            message = f"{', '.join(changed)}: attributes are texts here"
            self.telling.say(
                block, said, "node_attributes", message,
                comment="node-attributes", explains=(fact,),
            )  # fmt: skip
        if refused:
            message = f"{', '.join(refused)}: lists and mappings are no attributes; left out"
            self.telling.say(
                block, said, "node_attributes", message, kind=Kind.NO_EQUAL,
                comment="node-attributes", explains=(fact,),
            )  # fmt: skip

    # -------------------------------------------------------------------------- a label of it

    def _label(
        self, said: Placed[model.PoolLabel], pool: Placed[model.Pool], *, networks_here: bool
    ) -> Block:
        label, block = said.value, Block()
        block["name"] = label.name
        if label.diskimage is not None:
            block["image"] = self.names[label.diskimage]
        else:
            image = self.provider.cloud_image(label.cloud_image or "")
            assert image is not None
            block["cloud-image"] = image.value.external
        if label.flavor_name is not None:
            block["flavor-name"] = label.flavor_name
        self._memory(block, said, pool)
        if label.key_name:
            block["key-name"] = label.key_name
        self._connection(block, label)
        if label.host_key_checking is not None:
            block["host-key-checking"] = label.host_key_checking
        networks = label.networks
        if networks is None and not networks_here:
            networks = pool.value.networks
        if networks:
            block["networks"] = list(networks)
        self._volume(block, said, pool)
        self._properties(block, said, pool)
        self._userdata(block, said, pool)
        if label.console_log:
            block["console-log"] = True
        return block

    def _fact(self, pool: Placed[model.Pool], label: str, key: str) -> tuple[str, ...]:
        return ("offer", self.provider.name, pool.value.name, label, key)

    def _memory(
        self, block: Block, said: Placed[model.PoolLabel], pool: Placed[model.Pool]
    ) -> None:
        label = said.value
        if label.min_ram is None or (label.min_ram == 0 and label.flavor_name is not None):
            return  # 0 means the flavor of this very name, in both
        block["min-ram"] = max(1, label.min_ram)
        if label.min_ram < 1:
            message = "the smallest flavor is taken"
            fact = self._fact(pool, label.name, "min-ram")
            self.telling.say(block, said, "min_ram", message, explains=(fact,))

    def _connection(self, block: Block, label: model.PoolLabel) -> None:
        """Login and config drive, which Nodepool has at the provider's image."""
        image: Any = None
        if label.cloud_image is not None:
            cloud = self.provider.cloud_image(label.cloud_image)
            image = cloud.value if cloud is not None else None
        elif label.diskimage is not None:
            merged = self.provider.image(label.diskimage)
            image = merged.value if merged is not None else None
        if image is None:
            return
        if image.config_drive is not None:
            block["config-drive"] = image.config_drive
        for field in ("username", "python_path", "shell_type"):
            if value := getattr(image, field, None):
                block[field.replace("_", "-")] = value
        kind, port = connection(image)
        if kind != "ssh":
            block["connection-type"] = kind
        if port != _PORTS["ssh"]:
            block["connection-port"] = port

    def _volume(
        self, block: Block, said: Placed[model.PoolLabel], pool: Placed[model.Pool]
    ) -> None:
        label = said.value
        if label.boot_from_volume is not None:
            block["boot-from-volume"] = label.boot_from_volume
        if label.volume_size is None:
            return
        if label.volume_size > 0:
            block["volume-size"] = label.volume_size
        else:
            message = "has to be above 0; left out"
            fact = self._fact(pool, label.name, "volume-size")
            self.telling.say(block, said, "volume_size", message, explains=(fact,))

    def _properties(
        self, block: Block, said: Placed[model.PoolLabel], pool: Placed[model.Pool]
    ) -> None:
        label = said.value
        kept, refused = properties(label.instance_properties or {})
        if kept:
            block["instance-properties"] = kept
        fact = self._fact(pool, label.name, "instance-properties")
        changed = [k for k, v in (label.instance_properties or {}).items() if kept.get(k, v) != v]
        if changed:
            message = f"{', '.join(changed)}: metadata of servers is text"
            self.telling.say(
                block, said, "instance_properties", message,
                comment="instance-properties", explains=(fact,),
            )  # fmt: skip
        if refused:
            names = ", ".join(refused)
            message = f"{names}: cannot be metadata of a server; left out"
            self.telling.say(
                block, said, "instance_properties", message, kind=Kind.NO_EQUAL,
                comment="instance-properties", explains=(fact,),
            )  # fmt: skip
        if label.dynamic_instance_properties:
            names = ", ".join(label.dynamic_instance_properties)
            message = f"{names}: metadata is not made of the request here"
            self.telling.drop(block, said, "dynamic_instance_properties", message)

    def _userdata(
        self, block: Block, said: Placed[model.PoolLabel], pool: Placed[model.Pool]
    ) -> None:
        userdata = said.value.userdata
        if not userdata:
            return
        if len(userdata.encode()) <= _USER_DATA_MOST:
            block["userdata"] = userdata
            return
        message = f"has more than {_USER_DATA_MOST} bytes, which clouds refuse; left out"
        fact = self._fact(pool, said.value.name, "userdata")
        self.telling.say(
            block, said, "userdata", message,
            kind=Kind.TO_DO, comment="userdata", explains=(fact,),
        )  # fmt: skip


def connection(image: model.ProviderImage | model.CloudImage) -> tuple[str, int]:
    """How a node of an image is reached: what Nodepool takes, its defaults filled in."""
    kind = image.connection_type or "ssh"
    port = image.connection_port
    return kind, _PORTS.get(kind, _PORTS["ssh"]) if port is None else port


def properties(given: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Metadata that a server can have, and the names of what it cannot."""
    kept, refused = texts(given)
    for key, value in list(kept.items()):
        if not key or max(len(key), len(value)) > _METADATA_MOST or key.startswith(_OURS):
            refused.append(key)
            del kept[key]
    return kept, refused


def _has_label_without_networks(pool: model.Pool) -> bool:
    """Whether a label takes back the networks of its pool, which only an empty list can."""
    return any(label.networks == () for label in pool.labels or ())
