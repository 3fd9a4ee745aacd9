"""What all commands share: help, completion, start-up time; and those that need no daemon."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from terminal import Terminal

from trellis.cli.main import main
from trellis.live.text import duration, printable


def _commands(group: click.Group, names: tuple[str, ...] = ()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, (*names, name))
        else:
            yield (*names, name), command


COMMANDS = list(_commands(main))


@pytest.mark.parametrize(
    "names",
    # simulate hands --help to the simulator.
    [names for names, _ in COMMANDS if names != ("simulate",)],
    ids=" ".join,
)
def test_help_begins_with_examples(run, names):
    """Each command shows how it is used before it explains."""
    result = run(*names, "--help")

    assert result.exit_code == 0
    assert result.stdout.startswith("Examples:\n  trellis ")


@pytest.mark.parametrize(
    ("names", "command"), COMMANDS, ids=[" ".join(names) for names, _ in COMMANDS]
)
def test_command_is_documented(names, command):
    """Each command says what it does, and each of its options too."""
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_the_commands_of_the_design_are_there():
    """Noun, then verb."""
    assert {" ".join(names) for names, _ in COMMANDS} >= {
        "serve", "config check", "config show", "request create", "request list",
        "request show", "request explain", "request cancel", "lease list", "lease renew",
        "lease release", "node list", "node show", "node explain", "node hold", "node delete",
        "label list", "provider list", "provider show", "provider pause", "provider resume",
        "provider drain", "quota", "breaker list", "breaker reset", "leak list", "leak delete",
        "leak adopt", "plan", "events", "plugin list", "plugin new", "plugin show", "simulate",
        "cloud", "top", "node ssh", "tenant list",
    }  # fmt: skip


def test_help_imports_nothing_heavy():
    """`trellis --help` and completion stay quick: what takes time is imported where it is used."""
    heavy = "httpx litestar trio rich yaml msgspec keystoneauth1 h11 structlog pluggy"
    program = (
        "import sys\n"
        "from trellis.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        f"print([m for m in {heavy.split()!r} if m in sys.modules], file=sys.stderr)\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert result.stderr == "[]\n"


def test_completion_script_is_written(run):
    """click writes the completion for the user's shell."""
    result = subprocess.run(
        [sys.executable, "-c", "from trellis.cli.main import main; main(prog_name='trellis')"],
        capture_output=True,
        text=True,
        check=False,
        env={"_TRELLIS_COMPLETE": "zsh_source", "PATH": "/usr/bin:/bin"},
    )

    assert "compdef" in result.stdout


@pytest.mark.slow
def test_names_are_completed_from_the_daemon(daemon):
    """Labels and providers complete to what there is."""
    from trellis.cli.talk import complete_names

    context = click.Context(main)
    found = complete_names("labels")(context, main.params[0], "deb")

    assert [item.value for item in found] == ["debian-12"]


def test_nothing_is_completed_without_a_daemon(monkeypatch):
    """Completion stays silent when no daemon answers."""
    from trellis.cli.talk import complete_names

    monkeypatch.setenv("TRELLIS_URL", "http://127.0.0.1:9")

    assert complete_names("labels")(click.Context(main), main.params[0], "") == []


def test_plugins_are_listed_without_a_daemon(run):
    """The stock provider is a plugin too."""
    result = run("plugin", "list")

    assert result.exit_code == 0
    assert "openstack" in result.stdout


def test_bad_configuration_is_told_with_its_places(run, tmp_path: Path):
    """Every fault has its line; nothing is printed on stdout."""
    file = tmp_path / "trellis.yaml"
    file.write_text("deployment: 7\nlabls: []\n")

    result = run("config", "check", str(file))

    assert (result.exit_code, result.stdout) == (1, "")
    assert "trellis.yaml:1:13" in result.stderr
    assert "did you mean 'labels'" in result.stderr


def test_good_configuration_is_shown_with_its_defaults(run, tmp_path: Path):
    """`check` says ok; `show` prints what was left out too."""
    file = tmp_path / "trellis.yaml"
    file.write_text("deployment: ci-main\nstore: sqlite:trellis.db\nlabels: []\nproviders: []\n")

    checked = run("config", "check", str(file))
    shown = run("config", "show", str(file))

    assert (checked.exit_code, checked.stdout) == (0, f"{file}: ok\n")
    assert "127.0.0.1:8480" in shown.stdout


def test_serving_a_missing_file_says_so(run, tmp_path: Path):
    """`serve` without a configuration is exit code 1 with the file's name."""
    result = run("serve", "-c", str(tmp_path / "none.yaml"))

    assert result.exit_code == 1
    assert "none.yaml" in result.stderr


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (42, "42s"), (99, "99s"), (100, "1m"), (5999, "99m"), (11_100, "3h 5m"),
     (172_800, "2d")],
)  # fmt: skip
def test_duration_is_short(seconds, text):
    """Two units at most."""
    assert duration(seconds) == text


def test_only_control_characters_are_replaced():
    """Text of any language stays as it is."""
    assert printable("größer → 大\n\x1b[0m\x07") == "größer → 大\n\\x1b[0m\\x07"


@pytest.mark.parametrize(
    ("args", "near"),
    [(("reqest", "list"), "request"), (("node", "lst"), "list"), (("provider", "puase"), "pause")],
)
def test_mistyped_command_gets_the_nearest(run, args, near):
    """A noun or a verb."""
    result = run(*args)

    assert result.exit_code == 2
    assert f"Did you mean '{near}'?" in result.stderr


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_errors_have_colours_only_where_they_are_wanted(variables, coloured):
    """On a terminal, unless NO_COLOR is set."""
    with Terminal(["node", "list"], "http://127.0.0.1:9", **variables) as terminal:
        terminal.until("No daemon answers")

        assert terminal.end() == 1
        assert (b"\x1b[31m" in terminal.raw) == coloured
        assert (b"\x1b[" in terminal.raw) == coloured


def test_every_command_that_prints_data_prints_it_in_three_ways():
    """Those left out print no data, or something of their own."""
    three = {"table", "json", "yaml"}
    without = {
        " ".join(names)
        for names, command in COMMANDS
        if not any(
            isinstance(p, click.Option) and isinstance(p.type, click.Choice)
            and p.name == "output" and set(p.type.choices) >= three
            for p in command.params
        )
    }  # fmt: skip

    assert without == {
        "serve", "demo", "cloud", "node ssh", "lease release", "config show", "plugin new",
        "plugin record", "image log",
    }  # fmt: skip
