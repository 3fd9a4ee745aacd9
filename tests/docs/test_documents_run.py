"""Every command of the documents is typed, in its order, as a reader would.

`exceptions.py` has those that are not, each with its reason.
"""

import re
import shutil
import signal
from pathlib import Path

import httpx
import pytest
import yaml

from tests.docs.exceptions import NO_COMMANDS, NOT_RUN, why_not_run
from tests.docs.pages import PAGES, ROOT, blocks, commands, file_of, others, program
from tests.docs.reader import reading
from tests.meta.test_documents import refusal_of

pytestmark = pytest.mark.slow

TUTORIAL = ROOT / "docs/tutorial/first-node.md"
REAL_CLOUD = ROOT / "docs/how-to/first-real-cloud.md"
SIMULATE = ROOT / "docs/how-to/simulate.md"
WHAT_IF = ROOT / "docs/how-to/what-if.md"
CONVERT = ROOT / "docs/how-to/convert-nodepool-configuration.md"
SIMULATED = ROOT / "docs/how-to/simulated-clouds.md"
ADD_A_CLOUD = ROOT / "docs/how-to/add-a-cloud.md"
"""`test_add_a_cloud.py` types it."""
OF_THEIR_OWN = {TUTORIAL, REAL_CLOUD, ADD_A_CLOUD, ROOT / "README.md"}
FINITE = (
    ("trellis events", "--count", "--count 1"),
    ("trellis events", "--after", "--after 0"),
    ("trellis top", "--once", "--once"),
)
"""Commands that go on for ever, or until something happens; an option, and what is added if it is
not there."""
ELSEWHERE = ((r"127\.0\.0\.1:9000", "127.0.0.1:0"), (r"/tmp/", ""), (r"\bNAME\b", "mycloud"))
"""What cannot be as it stands: a port that somebody may use, a folder that is not the test's."""


def folder_of(tmp_path_factory, name):
    return tmp_path_factory.mktemp(name)


def leave_a_leak(clouds_yaml, number):
    """Make a server that carries the tag of the deployment, and that no record claims."""
    auth = yaml.safe_load(clouds_yaml.read_text())["clouds"]["mycloud"]["auth"]
    user = {"name": auth["username"], "domain": {"name": "Default"}, "password": auth["password"]}
    scope = {"project": {"name": auth["project_name"], "domain": {"name": "Default"}}}
    identity = {"methods": ["password"], "password": {"user": user}}
    with httpx.Client(verify=False, trust_env=False, timeout=20) as http:
        login = http.post(
            f"{auth['auth_url']}/auth/tokens", json={"auth": {"identity": identity, "scope": scope}}
        )
        http.headers["X-Auth-Token"] = login.headers["X-Subject-Token"]
        nova = next(
            endpoint["url"]
            for service in login.json()["token"]["catalog"]
            if service["type"] == "compute"
            for endpoint in service["endpoints"]
            if endpoint["interface"] == "public"
        )
        (flavor,) = http.get(f"{nova}/flavors").json()["flavors"]
        image = re.sub(r"/compute.*", "/image/v2/images", nova)
        (image,) = http.get(image).json()["images"]
        server = {
            "name": f"lost-{number}", "flavorRef": flavor["id"], "imageRef": image["id"],
            "metadata": {
                "trellis_deployment": "docs", "trellis_node_id": f"00000099{number:02}",
                "trellis_provider": "mycloud", "trellis_pool": "main",
            },
        }  # fmt: skip
        made = http.post(f"{nova}/servers", json={"server": server})
        assert made.status_code == 202, made.text
        return made.json()["server"]["id"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A daemon at work, with the files and names of the documents."""
    folder = folder_of(tmp_path_factory, "world")
    (folder / "my-clouds.yaml").write_text(file_of(SIMULATED, "clouds"))
    (folder / "story.yaml").write_text(file_of(SIMULATE, "clouds"))
    (folder / "known.yaml").write_text(file_of(WHAT_IF, "demand"))
    (folder / "nl01.yaml").write_text(file_of(CONVERT, "labels"))
    (folder / "nb01.yaml").write_text(file_of(CONVERT, "elements-dir"))
    (recorded,) = [x for x in blocks(SIMULATE.read_text(encoding="utf-8")) if x.kind == "csv"]
    (folder / "jobs.csv").write_text(recorded.text)
    with reading(folder) as reader:
        reader.start(f"trellis cloud {Path(__file__).with_name('world.yaml')}")
        clouds_yaml = folder / "trellis-clouds/clouds.yaml"
        reader.environment["OS_CLIENT_CONFIG_FILE"] = str(clouds_yaml)
        typed = [command.line for page in PAGES for command in commands(page)]
        wanted = sum(line.startswith("trellis leak delete") for line in typed)
        reader.leaks = [leave_a_leak(clouds_yaml, number) for number in range(wanted)]
        shutil.copy(folder / "trellis-clouds/trellis.yaml", folder / "trellis.yaml")
        reader.start("trellis serve -c trellis.yaml")
        yield reader


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if page not in OF_THEIR_OWN and any(not why_not_run(c.line) for c in commands(page))
    ],
)
def test_commands_of_a_page_work(world, page, tmp_path_factory):
    """From top to bottom, each ending with 0; those that go on are ended by Ctrl-C, with 0 too."""
    world.tidy()
    for command in commands(page):
        line = command.line
        if why_not_run(line) or program(line) == "OS_CLIENT_CONFIG_FILE":
            continue
        for pattern, instead in ELSEWHERE:
            line = re.sub(pattern, instead, line)
        if re.search(r"\btrellis serve\b", line):
            continue  # the world's daemon was started by it
        if line.startswith("trellis cloud"):
            with reading(folder_of(tmp_path_factory, "cloud")) as other:
                shutil.copy(world.folder / "my-clouds.yaml", other.folder)
                assert (command, 0) == (command, other.start(line).end())
            continue
        for endless, option, end in FINITE:
            if line.startswith(endless) and option not in line:
                line = f"{line} {end}"
        world.type(line)
        if line.startswith("trellis leak delete"):
            world.leaks.pop(0)


def test_the_tutorial_works(tmp_path):
    """A newcomer gets his node, and a daemon that was killed goes on where it was."""
    with reading(tmp_path, label="small") as reader:
        for command in commands(TUTORIAL):
            line = command.line
            if line == "trellis cloud":
                reader.start(line)
                written = tmp_path / "trellis-clouds/trellis.yaml"
                text = written.read_text()
                assert "127.0.0.1:8480" in text
                written.write_text(text.replace("127.0.0.1:8480", "127.0.0.1:0"))
            elif line.startswith("export OS_"):
                name, value = line.removeprefix("export ").split("=")
                reader.environment[name] = value.replace("$PWD", str(tmp_path))
            elif line.startswith("trellis serve"):
                serve, daemon = line, reader.start(line)
            elif not why_not_run(line):
                said = reader.type(line)
                if line == "trellis request create small":
                    daemon.end(signal.SIGKILL)
                    daemon = reader.start(serve)
                    pending = re.search(r"[0-9a-f]{32}", said)[0]

        assert pending in said


@pytest.fixture
def real_cloud(tmp_path_factory):
    """What stands for a real cloud: its clouds.yaml, and the port of its nodes."""
    folder = folder_of(tmp_path_factory, "real")
    with reading(folder) as reader:
        reader.start(f"trellis cloud {Path(__file__).with_name('world.yaml')}")
        written = yaml.safe_load((folder / "trellis-clouds/trellis.yaml").read_text())
        port = written["providers"][0]["pools"][0]["labels"][0]["connection-port"]
        clouds = yaml.safe_load((folder / "trellis-clouds/clouds.yaml").read_text())["clouds"]
        yield clouds["mycloud"]["auth"], port


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=p.name) for p in (ROOT / "README.md", REAL_CLOUD)]
)
def test_a_first_real_cloud_works(page, real_cloud, tmp_path):
    """The files as they are shown, with the account of the reader in them, and every command."""
    auth, port = real_cloud
    shown = yaml.safe_load(file_of(REAL_CLOUD, "clouds"))
    assert shown["clouds"]["mycloud"]["auth"].keys() == auth.keys()
    shown["clouds"]["mycloud"]["auth"] = auth
    (tmp_path / "clouds.yaml").write_text(yaml.safe_dump(shown))
    text = file_of(page, "deployment")
    assert text.count("username: debian") == 1
    text = text.replace("username: debian", f"username: debian, connection-port: {port}")
    (tmp_path / "trellis.yaml").write_text(f'{text}web: {{listen: "127.0.0.1:0"}}\n')
    with reading(tmp_path) as reader:
        reader.environment["OS_CLIENT_CONFIG_FILE"] = str(tmp_path / "clouds.yaml")
        for command in commands(page):
            if command.line.startswith("trellis serve"):
                daemon = reader.start(command.line)
            elif not why_not_run(command.line):
                reader.type(command.line)

        assert daemon.end() == 0


# ------------------------------------------------------------------- what is not run


def test_what_is_not_run_is_at_least_right():
    """Targets of make, modules and scripts exist; options are parsed. Prints the reasons."""
    makefile = (ROOT / "Makefile").read_text()
    used, wrong = set(), {}
    for command in (command for page in PAGES for command in commands(page)):
        why = why_not_run(command.line)
        if not why:
            continue
        used |= {pattern for pattern in NOT_RUN if re.match(pattern, command.line)}
        print(f"{command.where}: not run: {command.line}: {why}")
        if fault := _fault(command.line, makefile):
            wrong[command.where] = fault

    assert wrong == {}
    assert set(NOT_RUN) - used == set(), "exceptions that no document needs any more"


def _fault(line, makefile):
    """What is wrong with a command that is not run; None if nothing is seen."""
    if target := re.match(r"make ([\w-]+)", line):
        return None if f"\n{target[1]}: " in makefile else f"no target {target[1]}"
    if module := re.search(r"python -m ([\w.]+)", line):
        path = ROOT / module[1].replace(".", "/")
        known = path.with_suffix(".py").exists() or (path / "__main__.py").exists()
        return None if known else f"no module {module[1]}"
    if ours := re.search(r"\btrellis [a-z].*", line.replace("trellis-", "its-")):
        return refusal_of(ours[0])
    if line.startswith(("sudo", "export")):
        return None
    return None if (ROOT / line.split()[0]).exists() else "no such file"


@pytest.mark.parametrize("line", ["make nothing", "tests/no/such", "trellis demo --nope"])
def test_a_wrong_one_would_be_seen(line):
    """The check above can fail."""
    assert _fault(line, (ROOT / "Makefile").read_text())


def test_every_block_is_for_a_shell_or_said_not_to_be():
    """A block of commands that this test does not take for one would never be run."""
    unknown = [
        f"{page.name}:{block.line}"
        for page in PAGES
        for block in others(page)
        if not any(re.match(pattern, block.text) for pattern, _why in NO_COMMANDS)
    ]

    assert unknown == []
