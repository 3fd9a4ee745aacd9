"""Configurations shown, compared and hashed."""

import attrs
import yaml

from trellis.config import changed_providers, label_hashes, render


def edited(configuration, **changes):
    """The same configuration with its first provider changed."""
    first, *rest = configuration.providers
    return attrs.evolve(configuration, providers=(attrs.evolve(first, **changes), *rest))


def with_pool(configuration, **changes):
    pool = attrs.evolve(configuration.providers[0].pools[0], **changes)
    return edited(configuration, pools=(pool,))


class TestRender:
    def test_defaults_are_filled_in_and_secrets_masked(self, configured, whole):
        text = render(configured(whole))

        shown = yaml.safe_load(text)
        assert shown["lease-ttl"] == "1h"
        assert shown["store"] == "sqlite:/etc/trellis/var/trellis.db"
        assert shown["providers"][0]["password"] == "********"
        assert shown["providers"][0]["launch-retries"] == 3
        assert shown["images"][0]["env-vars"] == {"DIB_PASSWORD": "********"}
        assert "hunter2" not in text

    def test_what_only_sounds_secret_is_masked(self, configured):
        text = "deployment: x\nimages: [{name: a, metadata: {os_token: hunter2, os: debian}}]"

        shown = yaml.safe_load(render(configured(text)))

        assert shown["images"][0]["metadata"] == {"os_token": "********", "os": "debian"}

    def test_what_is_shown_can_be_read_again(self, configured, whole):
        without_secrets = whole.replace("    password: hunter2\n", "").replace("hunter2", "x")
        once = configured(without_secrets)

        again = configured(render(once).replace("********", "x"))

        assert again == once

    def test_a_secret_that_is_not_set_is_shown_as_not_set(self, configured, whole):
        shown = yaml.safe_load(render(configured(whole.replace("    password: hunter2\n", ""))))

        assert shown["providers"][0]["password"] == ""


class TestChangedProviders:
    def test_providers_are_told_apart_by_name(self, configured, whole):
        old = configured(whole)
        other = attrs.evolve(old.providers[0], name="other")

        changes = changed_providers(old, attrs.evolve(old, providers=(other,)))

        assert (changes.added, changes.removed, changes.changed) == (("other",), ("ovh-bhs1",), ())

    def test_any_difference_is_a_change(self, configured, whole):
        old = configured(whole)

        assert changed_providers(old, edited(old, password="new")).changed == ("ovh-bhs1",)
        assert changed_providers(old, with_pool(old, max_servers=1)).changed == ("ovh-bhs1",)
        assert changed_providers(old, configured(whole)).changed == ()


class TestLabelHash:
    def of(self, configuration):
        return label_hashes(configuration)["ovh-bhs1", "main", "debian-12"]

    def test_it_is_stable_over_releases(self, configured, whole):
        """Written down: were it to change, every idle node would be replaced on upgrade."""
        assert self.of(configured(whole)) == "81a84528aca1a799"

    def test_what_makes_the_node_counts(self, configured, whole):
        old = configured(whole)
        texts = [
            whole.replace("b2-7", "b2-15"),
            whole.replace("b2-7", "b2-7, userdata: one"),
            whole.replace("b2-7", "b2-7, userdata: two"),
            whole.replace("BHS1", "GRA7"),
            whole.replace("min-ready: 2", "host-key-checking: false"),
            whole.replace("elements: [debian-minimal, vm, simple-init]", "username: ci"),
        ]

        hashes = [self.of(configured(text)) for text in texts]
        hashes.append(self.of(with_pool(old, networks=("private",))))

        assert len({self.of(old), *hashes}) == 8

    def test_limits_and_times_do_not_count(self, configured, whole):
        old = configured(whole)
        text = whole.replace("max-servers: 120", "max-servers: 1").replace("90s", "91s")
        text = text.replace("min-ready: 2", "min-ready: 3").replace("24h", "25h")

        assert self.of(configured(text)) == self.of(old)
        assert self.of(edited(old, password="new")) == self.of(old)
