"""The reference page of the configuration says what the classes say."""

import importlib.util
from pathlib import Path

import pytest

from trellis.config import Configuration
from trellis.plugin_host import PluginHost, built_in_plugins

GENERATOR = Path(__file__).parents[2] / "docs" / "generate_configuration.py"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate_configuration", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(generator):
    """Run ``python -m docs.generate_configuration`` if it is not."""
    assert generator.PAGE.read_text(encoding="utf-8") == generator.page()


def test_every_key_is_documented(generator):
    classes = [Configuration]
    for registration in PluginHost(built_in_plugins()).providers.registrations():
        classes.append(registration.configuration_class)

    assert [generator.undocumented(cls) for cls in classes] == [[]] * len(classes)


def test_the_page_has_types_defaults_and_meanings(generator):
    lines = generator.page().splitlines()

    assert "| `min-ready` | whole number | `0` | idle nodes to keep ready, over all providers " in (
        "\n".join(lines)
    )
    assert any(line.startswith("| `lease-ttl` | duration | `1h` |") for line in lines)
    assert any(line.startswith("| `deployment` | text | **required** |") for line in lines)
    assert any(line.startswith("| `env-vars` | mapping of text to text (secret)") for line in lines)
