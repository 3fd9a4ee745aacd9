"""Images by diskimage-builder, or by scripts that take its command line."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import attrs
import pytest
import trio

from tests.builders.workshop import (
    MAKE_FILES,
    TAKE_ARGUMENTS,
    Heard,
    a_script,
    an_order,
    assert_nothing_left,
)
from trellis.builders.diskimage_builder import DiskImageBuilder, DiskImageConfig
from trellis.errors import BuildError

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def a_builder(command, environment=None, **changes):
    config = DiskImageConfig(name="debian-12", build_command=command, **changes)
    return DiskImageBuilder(config, environment or {"PATH": PATH, "HOME": "/root"})


async def built(folder, text, *formats, environment=None, order=None, **changes):
    """Build by a script; returns the artifacts and what the watch was told."""
    heard = Heard()
    builder = a_builder(a_script(folder, text), environment, **changes)
    made = await builder.build(order or an_order(folder, *formats), heard)
    return made, heard


async def failed(folder, text, *formats, **changes):
    """Build by a script that fails; returns the error's text and what the watch was told."""
    heard = Heard()
    order = an_order(folder, *formats)
    builder = a_builder(a_script(folder, text), **changes)
    with pytest.raises(BuildError) as raised:
        await builder.build(order, heard)
    assert_nothing_left(order)
    return str(raised.value), heard


class TestSuccess:
    async def test_two_formats_come_with_their_checksums(self, tmp_path):
        made, _ = await built(tmp_path, TAKE_ARGUMENTS + MAKE_FILES, "qcow2", "raw")

        assert ["qcow2", "raw"] == [one.format for one in made]
        for one in made:
            content = Path(one.path).read_bytes()
            assert len(content) == one.size
            assert hashlib.md5(content).hexdigest() == one.md5
            assert hashlib.sha256(content).hexdigest() == one.sha256
            assert hashlib.sha512(content).hexdigest() == one.sha512

    async def test_command_may_have_an_option_of_the_same_name(self, tmp_path):
        """As ``docker run -t IMAGE`` has; what is to be made is not read off the words."""
        script = a_script(tmp_path, f"shift 2\n{TAKE_ARGUMENTS}{MAKE_FILES}")
        made = await a_builder(f"{script} -t tty").build(an_order(tmp_path, "raw"), Heard())

        assert [one.format for one in made] == ["raw"]

    async def test_command_line_and_environment_are_those_that_scripts_know(self, tmp_path):
        text = f"""
            printf '%s\\n' "$@" > {tmp_path}/arguments
            env > {tmp_path}/environment
        """
        site = tmp_path / "elements"
        order = an_order(tmp_path, "qcow2", elements_dirs=(site,))
        await built(
            tmp_path,
            text + TAKE_ARGUMENTS + MAKE_FILES,
            order=order,
            environment={
                "PATH": PATH,
                "LANG": "C",
                "OS_PASSWORD": "x1",
                "TRELLIS_TOKEN": "x2",
                "TMPDIR": str(tmp_path),
            },
            elements=("debian-minimal", "vm"),
            release="bookworm",
            env_vars={"DIB_DEBUG": "1", "LANG": "C.UTF-8"},
            elements_dir=tmp_path / "own",
        )

        arguments = (tmp_path / "arguments").read_text().split("\n")[:-1]
        assert [
            "-x", "-t", "qcow2", "--checksum", "--no-tmpfs", "--qemu-img-options", "compat=0.10",
            "-o", str(order.base), "debian-minimal", "vm",
        ] == arguments  # fmt: skip
        lines = (tmp_path / "environment").read_text().splitlines()
        environment = dict(line.split("=", 1) for line in lines)
        expected = {
            "DIB_RELEASE": "bookworm",
            "DIB_IMAGE_NAME": "debian-12",
            "DIB_IMAGE_FILENAME": str(order.base),
            "ELEMENTS_PATH": f"{tmp_path}/own:{site}",
            "DIB_IMAGE_CACHE": str(order.cache),
            "TMP_DIR": str(order.scratch / "tmp"),
            "DIB_DEBUG": "1",
            "LANG": "C.UTF-8",
        }
        assert expected == {name: environment[name] for name in expected}
        assert "/usr/bin" in environment["PATH"].split(":")
        # A diskimage-builder that is installed with Trellis is there.
        assert environment["PATH"].endswith(str(Path(sys.executable).parent))
        assert not {"OS_PASSWORD", "TRELLIS_TOKEN"} & set(environment)
        # It would hold in the image too while that is made, where the folder is not.
        assert "TMPDIR" not in environment

    async def test_scratch_is_gone_and_the_cache_stays(self, tmp_path):
        order = an_order(tmp_path)
        text = TAKE_ARGUMENTS + MAKE_FILES + 'touch "$TMP_DIR/x" "$DIB_IMAGE_CACHE/kept"'

        await built(tmp_path, text, order=order)

        assert not order.scratch.exists()
        assert (order.cache / "kept").exists()

    async def test_folders_that_all_builds_have_of_their_own_are_not_theirs_to_set(self, tmp_path):
        order = an_order(tmp_path)
        text = TAKE_ARGUMENTS + MAKE_FILES + 'echo "cache $DIB_IMAGE_CACHE"'

        _, heard = await built(
            tmp_path, text, order=order, env_vars={"DIB_IMAGE_CACHE": "/elsewhere"}
        )

        assert f"cache {order.cache}" in heard.lines
        assert "DIB_IMAGE_CACHE is not taken from there" in heard.text

    async def test_phases_of_diskimage_builder_are_told(self, tmp_path):
        log = """
            echo '2026-11-23 10:00:00.000 | Building elements: base debian-minimal vm'
            echo '2026-11-23 10:00:01.000 | dib-run-parts Running /x/hooks/root.d/08-debootstrap'
            echo '2026-11-23 10:00:01.500 | dib-run-parts Running /x/hooks/root.d/09-more'
            echo '2026-11-23 10:00:02.000 | dib-run-parts Running /tmp/in_target.d/install.d/01-pkg'
            echo '2026-11-23 10:00:03.000 | Converting image using qemu-img convert'
        """

        _, heard = await built(tmp_path, TAKE_ARGUMENTS + log + MAKE_FILES)

        expected = ["starting", "elements", "root", "install", "converting", "checksums"]
        assert expected == heard.phases


class TestFailure:
    async def test_exit_code_and_signal_are_told(self, tmp_path):
        text, heard = await failed(tmp_path, "echo almost there; exit 100")
        assert "the build command ended with exit code 100" == text
        assert "almost there" in heard.lines

        text, _ = await failed(tmp_path, "kill -KILL $$")
        assert "the build command was ended by signal 9" == text

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            (
                "diskimage_builder.element_dependencies.MissingElementException: "
                "Element 'debain' not found",
                "there is no element 'debain'. Correct `elements`",
            ),
            ("cp: error writing 'x': No space left on device", "the disk is full"),
            (
                "ERROR: At least one distribution root element must be specified",
                "it has no elements",
            ),
            ("sudo: a password is required", "has to be root"),
            ("vhd output format specified but no vhd-util executable found.", "not installed"),
        ],
        ids=["element", "disk-full", "no-elements", "sudo", "format"],
    )
    async def test_what_diskimage_builder_says_becomes_a_remedy(self, tmp_path, said, told):
        text, _ = await failed(tmp_path, f'echo "{said}"; exit 1')

        assert told in text

    async def test_command_that_is_not_there_is_named_with_the_path_and_the_remedy(self, tmp_path):
        builder = a_builder("disk-image-creat --option", {"PATH": "/usr/bin"})

        with pytest.raises(BuildError, match=r"'disk-image-creat'.*PATH.*/usr/bin.*pip install"):
            await builder.build(an_order(tmp_path), Heard())

        assert_nothing_left(an_order(tmp_path))

    async def test_script_without_interpreter_is_told(self, tmp_path):
        path = Path(a_script(tmp_path, "exit 0"))
        path.write_text("#!/no/such/shell\n")

        text = "exit code 127|cannot be started"
        with pytest.raises(BuildError, match=text):
            await a_builder(str(path)).build(an_order(tmp_path), Heard())

    async def test_command_that_makes_nothing_is_told(self, tmp_path):
        text, _ = await failed(tmp_path, "exit 0")

        assert "made no" in text
        assert "command line of disk-image-create" in text

    async def test_checksum_that_is_not_the_files_is_refused_with_both(self, tmp_path):
        wrong = 'echo "0123456789abcdef0123456789abcdef $out" > "$out.qcow2.md5"'

        text, _ = await failed(tmp_path, TAKE_ARGUMENTS + MAKE_FILES + wrong)

        right = hashlib.md5(b"an image as qcow2\n").hexdigest()
        assert right in text
        assert "0123456789abcdef0123456789abcdef" in text

    async def test_empty_file_is_no_image(self, tmp_path):
        text, _ = await failed(tmp_path, TAKE_ARGUMENTS + 'touch "$out.qcow2"')

        assert "is empty" in text

    async def test_format_that_is_not_known_is_refused(self, tmp_path):
        text, _ = await failed(tmp_path, "exit 0", "ova")

        assert "makes no ova here: formats are qcow2, raw, vhd" in text

    async def test_disk_that_fills_is_told_and_what_was_written_is_gone(self, tmp_path):
        """A limit on the size of files stands for the disk."""
        text = TAKE_ARGUMENTS + 'ulimit -f 100; head -c 10000000 /dev/zero > "$out.qcow2"'

        said, _ = await failed(tmp_path, text)

        assert "a file is larger than the system lets it be" in said or "signal 25" in said

    async def test_folder_that_cannot_be_made_is_named(self, tmp_path):
        (tmp_path / "images").write_text("a file")

        with pytest.raises(BuildError, match=r"images.* cannot be made: .*`images-dir`"):
            await a_builder(a_script(tmp_path, "exit 0")).build(an_order(tmp_path), Heard())


STAGES = {
    "before-anything": "touch {here}/now; sleep 1000",
    "half-way": 'echo x > "$TMP_DIR/half"; echo x > "$out.qcow2-new"; touch {here}/now; sleep 1000',
    "files-made": MAKE_FILES + "touch {here}/now; exec sleep 1000",
    "deaf": "trap '' TERM; setsid sleep 1000 & touch {here}/now; while :; do sleep 1; done",
}


class TestCancelled:
    @pytest.mark.parametrize("stage", STAGES)
    async def test_at_no_stage_anything_is_left(self, tmp_path, monkeypatch, stage):
        patience = attrs.evolve(_default_patience(), end_s=0.5)
        monkeypatch.setattr("trellis.builders.process.run.__kwdefaults__", {"patience": patience})
        text = TAKE_ARGUMENTS + STAGES[stage].replace("{here}", str(tmp_path))
        order, heard = an_order(tmp_path), Heard()
        builder = a_builder(a_script(tmp_path, text))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(builder.build, order, heard)
            with trio.fail_after(30):  # noqa: ASYNC912 - it waits at least once
                while not (tmp_path / "now").exists():  # noqa: ASYNC110 - a file tells nobody
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

        assert_nothing_left(order)

    async def test_while_checksums_are_taken_nothing_is_left(self, tmp_path):
        """A sparse file of 64 GiB takes minutes to read."""
        text = TAKE_ARGUMENTS + 'truncate -s 64G "$out.qcow2"'
        order, heard = an_order(tmp_path), Heard()
        at_work = trio.to_thread.current_default_thread_limiter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a_builder(a_script(tmp_path, text)).build, order, heard)
            with trio.fail_after(30):  # noqa: ASYNC912 - it waits at least once
                while "checksums" not in heard.phases or not at_work.borrowed_tokens:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

        assert_nothing_left(order)


def _default_patience():
    from trellis.builders.process import Patience

    return Patience()


class TestSecrets:
    def test_what_is_declared_sounds_so_or_stands_in_a_url_is_secret(self):
        builder = a_builder(
            "x",
            {"PATH": "/bin", "https_proxy": "http://me:proxy-pass@proxy:3128"},
            env_vars={
                "DIB_DEV_USER_PASSWORD": "hunter22",
                "DIB_DEV_USER_PWDLESS_SUDO": "yes",
                "DIB_USE_TOKEN": "true",
                "PIN_TOKEN": "abc",
                "MIRROR": "https://reader:s3cr3t@mirror.example.org/debian",
            },
            secret_env_vars={"LICENSE": "ABCD-1234"},
        )

        assert {"hunter22", "s3cr3t", "proxy-pass", "ABCD-1234"} == set(builder.secrets())

    def test_values_are_never_shown(self):
        config = DiskImageConfig(
            name="x", env_vars={"A": "hunter22"}, secret_env_vars={"B": "hunter23"}
        )

        assert "hunter" not in repr(config)


class TestConfiguration:
    @pytest.mark.parametrize(
        ("field", "value", "told"),
        [
            ("elements", ("-x",), "is no name of an element"),
            ("elements", ("vm simple-init",), "is no name of an element"),
            ("env_vars", {"A B": "x"}, "is no name of an environment variable"),
            ("secret_env_vars", {"A": "abc"}, "less than 4 characters"),
            ("build_command", "disk-image-create 'x", "cannot be split into words"),
            ("build_command", " ", "must not be empty"),
        ],
        ids=["option", "two-words", "variable", "short-secret", "quotes", "empty"],
    )
    def test_what_cannot_work_is_refused(self, field, value, told):
        with pytest.raises(ValueError, match=told):
            DiskImageConfig(name="x", **{field: value})


QEMU_IMG = shutil.which("qemu-img", path=PATH)
NO_VHD_UTIL = shutil.which("vhd-util", path=PATH) is None


class TestVhd:
    async def test_without_any_tool_it_is_said_before_anything_is_built(self, tmp_path):
        """It names both programs, and what to install."""
        builder = a_builder(a_script(tmp_path, "exit 0"))
        bare = tmp_path / "bin"
        bare.mkdir()
        environment = {"PATH": str(bare)}

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("trellis.builders.tools._SYSTEM_FOLDERS", str(bare))
            patch.setattr("sys.executable", str(bare / "python"))
            builder = a_builder(a_script(tmp_path, "exit 0"), environment)
            with pytest.raises(
                BuildError, match=r"no `vhd-util` either.*takes `qemu-img`.*install"
            ):
                await builder.build(an_order(tmp_path, "vhd"), Heard())

    async def test_vhd_util_leaves_it_to_diskimage_builder(self, tmp_path):
        bin_folder = tmp_path / "bin"
        bin_folder.mkdir()
        a_script(bin_folder, "exit 0", "vhd-util")
        environment = {"PATH": f"{bin_folder}:{PATH}"}
        text = TAKE_ARGUMENTS + 'echo "types $types"' + MAKE_FILES

        made, heard = await built(tmp_path, text, "vhd", environment=environment)

        assert ["vhd"] == [one.format for one in made]
        assert "types vhd" in heard.lines

    @pytest.mark.skipif(QEMU_IMG is None, reason="no qemu-img: install qemu-utils")
    @pytest.mark.skipif(not NO_VHD_UTIL, reason="vhd-util is here: diskimage-builder uses it")
    async def test_qemu_img_makes_it_of_a_raw_image_that_goes_again(self, tmp_path):
        order = an_order(tmp_path, "vhd")
        text = TAKE_ARGUMENTS + 'echo "types $types"; truncate -s 8M "$out.raw"'

        made, heard = await built(tmp_path, text, order=order)

        assert "types raw" in heard.lines
        footer = Path(made[0].path).read_bytes()[-512:]
        assert b"tap\0" == footer[28:32]
        assert ["debian-12-0000000007.vhd"] == [
            name for name in os.listdir(order.base.parent) if not name.startswith(".")
        ]
        assert "converting to vhd" in heard.phases


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "-x", "a b", "x" * 101, ""])
def test_name_that_leads_out_of_the_folder_of_images_is_refused(name):
    with pytest.raises(ValueError, match=r"name of files|must not be empty"):
        DiskImageConfig(name=name)
