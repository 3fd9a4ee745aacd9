"""``diskimages`` become ``images`` that are made of the same, and uploaded with the same."""

import pytest

from tests.nodepool.example import imported, one, site_of, told
from trellis.nodepool import Kind, convert


def images_of(text, **options):
    configuration, converted = imported(text, **options)
    return {image.name: image for image in configuration.images}, converted


def under(parent, child):
    """The image ``i`` with a parent, which has lines of its own."""
    return one(image=f"parent: base\n{child}") + (
        "  - name: base\n    abstract: true\n"
        + "".join(f"    {line}\n" for line in parent.splitlines())
    )


def test_image_inherits_as_it_did():
    """Elements are appended, variables merged, what is empty is passed over."""
    parent = """\
elements: [base]
env-vars: {A: '1', B: '1'}
release: 21
username: core
rebuild-age: 3600
formats: [raw]
python-path: /usr/bin/python3
delete-after-upload: true
metadata: {a: b}
"""
    child = """\
env-vars: {B: '2'}
username: ''
rebuild-age: 0
formats: []
delete-after-upload: false
"""
    images, converted = images_of(under(parent, child))

    image = images["i"]
    assert image.elements == ("base", "vm")
    assert image.env_vars == {"A": "1", "B": "2"}
    assert (image.release, image.username, image.rebuild_age) == ("21", "core", 3600)
    assert (image.formats, image.python_path) == (("raw",), "/usr/bin/python3")
    assert (image.delete_after_upload, image.metadata) == (False, {})
    assert "    parent: base\n" in converted.text


def test_pause_of_a_parent_holds_for_its_children():
    """There it cannot be taken back; here it is not inherited."""
    images, _converted = images_of(under("pause: true", "pause: false"))

    assert images["i"].pause is True


def test_image_without_a_recipe_is_not_built():
    """As in a launcher's file alone: it would become an image of nothing."""
    text = one().replace("    elements: [vm]\n", "")
    images, converted = images_of(text)

    assert images["i"].pause is True
    (change,) = [c for c in converted.changes if "what the image is made of" in c.message]
    assert (change.kind, change.place) == (Kind.TO_DO, "0.yaml:13:5")


def test_options_among_the_elements_go_to_the_command():
    """There all items stand behind the command, as they are."""
    images, _converted = images_of(under("elements: ['-p git']", "dib-cmd: dib"))

    assert images["i"].elements == ("vm",)
    assert images["i"].build_command == "dib -p git"


def test_variables_of_a_secure_file_are_the_images_own():
    """They are not inherited there, so the child does not inherit here either."""
    text = one(image="env-vars: {A: '1'}") + "  - {name: child, parent: i, elements: [more]}\n"
    secure = "diskimages: [{name: i, env-vars: {A: secret, PIN: '12'}}]"
    images, _converted = images_of(text, secure=secure)

    assert images["i"].secret_env_vars == {"A": "secret"}
    assert images["i"].env_vars == {"A": "1", "PIN": "12"}  # too short to be masked
    assert images["child"].secret_env_vars == {}
    assert images["child"].env_vars == {"A": "1"}
    assert images["child"].elements == ("vm", "more")


@pytest.mark.parametrize("name", ["TMPDIR", "DIB_IMAGE_CACHE", "TMP_DIR", "not-a-name"])
def test_variable_that_a_build_cannot_have_is_told(name):
    images, converted = images_of(one(image=f"env-vars: {{{name}: x, B: y}}"))

    assert images["i"].env_vars == {"B": "y"}
    assert told(converted, "env-vars").message.startswith(f"{name} is left out")


def test_image_that_files_cannot_be_called_by_gets_another_name():
    """And no name that is taken."""
    text = one().replace("name: i}", "name: 'a b'}").replace("diskimage: i", "diskimage: a b")
    text = text.replace("  - name: i\n", "  - name: a-b\n  - name: a b\n")
    configuration, converted = imported(text)

    assert [image.name for image in configuration.images] == ["a-b", "a-b-2"]
    assert configuration.providers[0].pools[0].labels[0].image == "a-b-2"
    assert converted.images == {"a-b": "a-b", "a b": "a-b-2"}
    assert told(converted, "name").message.endswith("it is 'a-b-2' here")


def two_providers(first, second):
    """Two providers that both get the image ``i``; each with lines of its own."""
    head, tail = one(provider=first).split("diskimages:\n")
    again = head.split("providers:\n")[1].replace("name: p\n", "name: q\n")
    own = "".join(f"    {line}\n" for line in first.splitlines())
    others = "".join(f"    {line}\n" for line in second.splitlines())
    again = again.replace(own, others) if own else again
    return f"{head}{again}diskimages:\n{tail}"


def test_hook_that_all_its_providers_have_is_the_images():
    """As one word: it is no command line there."""
    text = two_providers("post-upload-hook: /opt/my hook", "post-upload-hook: /opt/my hook")
    images, converted = images_of(text)

    assert images["i"].post_upload_hook == "'/opt/my hook'"
    assert "the upload is kept" in told_all(converted, "post-upload-hook")


def test_hook_that_one_provider_has_is_to_be_done_by_hand():
    """It must not be run for the others."""
    text = two_providers("post-upload-hook: /hook", "boot-timeout: 9")
    images, converted = images_of(text)

    assert images["i"].post_upload_hook is None
    assert told(converted, "post-upload-hook").kind is Kind.TO_DO


def test_hook_of_a_parent_is_not_its_childs():
    """Whose own providers have none: here it would be inherited."""
    text = one(provider="post-upload-hook: /hook") + "  - {name: c, parent: i, elements: [x]}\n"
    images, _converted = images_of(text)

    assert images["i"].post_upload_hook == "/hook"
    assert images["c"].post_upload_hook is None
    assert images["c"].elements == ("vm", "x")


def test_properties_of_uploads_are_the_images_or_the_providers():
    """What all providers give an image is the image's; the rest is the provider's."""
    text = two_providers("boot-timeout: 9", "boot-timeout: 8")
    first, second = (
        "diskimages: [{name: i, meta: {a: '1', b: 2}}]",
        "diskimages: [{name: i, meta: {a: '1', c: x}}]",
    )
    halves = text.split("    diskimages: [{name: i}]\n")
    text = f"{halves[0]}    {first}\n{halves[1]}    {second}\n{halves[2]}"
    configuration, converted = imported(text)

    (image,) = configuration.images
    assert image.metadata == {"a": "1"}
    assert [p.image_properties for p in configuration.providers] == [{"b": "2"}, {"c": "x"}]
    assert not [change for change in converted.changes if change.key == "meta"]


def test_property_that_neither_can_carry_is_to_be_done_by_hand():
    """Two images and two providers, and one property of one upload."""
    text = one().replace(
        "diskimages: [{name: i}]", "diskimages: [{name: i, meta: {a: b}}, {name: j}]"
    )
    label = "          - {name: other, diskimage: j, flavor-name: f}\n"
    head, tail = text.split("          - name: jammy\n")
    text = f"{head}{label}          - name: jammy\n{tail}  - {{name: j, elements: [vm]}}\n"
    text = text.replace("labels: [{name: jammy}]", "labels: [{name: jammy}, {name: other}]")
    again = text.split("providers:\n")[1].split("diskimages:\n  -")[0]
    again = again.replace("name: p\n", "name: q\n").replace("meta: {a: b}", "meta: {a: c}")
    text = text.replace("diskimages:\n  - name: i", f"{again}diskimages:\n  - name: i")
    site = site_of(text)
    converted = convert(site, demand=False)

    lost = [change for change in converted.changes if change.key == "meta"]

    assert [change.kind for change in lost] == [Kind.TO_DO, Kind.TO_DO]
    assert {fact[:3] for change in lost for fact in change.explains} == {
        ("upload", "i", "p"), ("upload", "i", "q"),
    }  # fmt: skip


def told_all(converted, key):
    return " ".join(change.message for change in converted.changes if change.key == key)
