"""The files that a Zuul is started with: zuul.conf, its tenant, and where its daemons log."""

import configparser
from pathlib import Path
from typing import Final

from tests.zookeeper.certificates import Issued
from tests.zuul.whole.repositories import CONFIGURATION, PROJECT

DAEMONS: Final = ("scheduler", "executor", "merger")
TENANT: Final = "acme"
TENANTS: Final = f"""
- tenant:
    name: {TENANT}
    source:
      git:
        config-projects: [{CONFIGURATION}: {{load-branch: main}}]
        untrusted-projects: [{PROJECT}]
"""
LOGGING: Final = """
[loggers]
keys=root,zuul

[handlers]
keys=file

[formatters]
keys=lines

[logger_root]
level=WARNING
handlers=file

[logger_zuul]
level=DEBUG
handlers=file
propagate=0
qualname=zuul

[handler_file]
level=DEBUG
class=FileHandler
formatter=lines
args=('LOG',)

[formatter_lines]
format=%(asctime)s %(levelname)s %(name)s: %(message)s
"""


def write_zuul_files(
    folder: Path,
    *,
    zookeeper: str,
    certificate: Issued,
    authority: Path,
    repositories: Path,
    key: Path,
    ansible: Path,
    builds: Path,
    readable: str,
) -> Path:
    """Write them all; the path of zuul.conf.

    Args:
        zookeeper: host and port, for TLS.
        repositories: the folder that the git driver polls.
        key: with which the executor logs in to nodes.
        ansible: the folder with Ansible's environments, one for each version.
        builds: the folder of what builds need while they run.
        readable: folders that playbooks may read besides, joined by colons.
    """
    paths = {"untrusted_ro_paths": readable, "trusted_ro_paths": readable} if readable else {}
    states = (f"{daemon}-state" for daemon in DAEMONS)
    for name in ("executor-git", "merger-git", *states):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "tenants.yaml").write_text(TENANTS)
    for daemon in DAEMONS:
        text = LOGGING.replace("LOG", str(folder / f"{daemon}.log"))
        (folder / f"{daemon}-logging.conf").write_text(text)
    sections = {
        "zookeeper": {
            "hosts": zookeeper,
            "tls_cert": certificate.cert,
            "tls_key": certificate.key,
            "tls_ca": authority,
            "session_timeout": 10,
        },
        "keystore": {"password": "not-secret"},
        "database": {"dburi": f"sqlite:///{folder / 'zuul.db'}"},
        "scheduler": {
            "tenant_config": folder / "tenants.yaml",
            "log_config": folder / "scheduler-logging.conf",
            "command_socket": folder / "scheduler.socket",
            "state_dir": folder / "scheduler-state",
        },
        "merger": {
            "log_config": folder / "merger-logging.conf",
            "command_socket": folder / "merger.socket",
            "state_dir": folder / "merger-state",
            "git_dir": folder / "merger-git",
            "git_user_email": "zuul@example.org",
            "git_user_name": "Zuul",
        },
        "executor": {
            "hostname": "localhost",
            "log_config": folder / "executor-logging.conf",
            "command_socket": folder / "executor.socket",
            "state_dir": folder / "executor-state",
            "git_dir": folder / "executor-git",
            "job_dir": builds,
            "private_key_file": key,
            "ansible_root": ansible,
            "manage_ansible": "false",
            "sigterm_method": "stop",
            # A test's machine may be busy, or short of what an executor wants to have left.
            "load_multiplier": 1000,
            "min_avail_mem": 0,
            "min_avail_hdd": 0,
            "min_avail_inodes": 0,
            "disk_limit_per_job": -1,
            **paths,
        },
        "connection git": {
            "driver": "git",
            "baseurl": f"file://{repositories}",
            "poll_delay": 0.5,
        },
    }
    conf = configparser.RawConfigParser()
    conf.read_dict(
        {
            name: {key: str(value) for key, value in section.items()}
            for name, section in sections.items()
        }
    )
    path = folder / "zuul.conf"
    with path.open("w") as file:
        conf.write(file)
    return path
