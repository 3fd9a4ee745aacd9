"""A provider's last configuration as it is kept in the store, for after it has left the file."""

import json
from pathlib import Path
from typing import Any

from trellis.config.loading import parse
from trellis.config.rendering import as_plain
from trellis.spi.config import ProviderConfig
from trellis.spi.registry import ProviderRegistry


def remember(config: ProviderConfig) -> str:
    """Write a provider's configuration without secrets: enough to end what it has."""
    return json.dumps(as_plain(config), separators=(",", ":"), ensure_ascii=False)


def recall(text: str, registry: ProviderRegistry) -> ProviderConfig:
    """Read what `remember` wrote; secrets are masked in it, so nothing can be created with it.

    Raises:
        ConfigError: no plugin offers its type any more, or reads it otherwise by now.
    """
    entry = json.loads(text)
    labels = [label for pool in entry.get("pools", ()) for label in pool.get("labels", ())]
    # A file around it, in which every name it uses stands for something.
    document: dict[str, Any] = {
        "deployment": "remembered",
        "labels": _named(label["name"] for label in labels),
        "images": _named(label["image"] for label in labels if label.get("image")),
        "providers": [entry],
    }
    name = f"the last configuration of provider {entry.get('name')}"
    loaded = parse(json.dumps(document), registry, file=name, folder=Path())
    return loaded.configuration.providers[0]


def _named(names: Any) -> list[dict[str, str]]:
    return [{"name": name} for name in dict.fromkeys(names)]
