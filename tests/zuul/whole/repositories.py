"""Two git repositories for a Zuul: its configuration, and a project whose job it runs.

They are bare and in a folder, polled there by Zuul's git driver.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

CONFIGURATION: Final = "site-config"
PROJECT: Final = "greeter"
LABEL: Final = "small"

PIPELINES: Final = f"""
- pipeline:
    name: post
    manager: independent
    trigger:
      git:
        - {{event: ref-updated, ref: ^refs/heads/.*$}}

- job:
    name: base
    parent: null
    pre-run: playbooks/pre.yaml
    timeout: 300
    nodeset:
      nodes: [{{name: one, label: {LABEL}}}]
"""
PRE_RUN: Final = """
- hosts: all
  tasks:
    - name: Let Zuul read what commands print
      zuul_console:
"""
JOB: Final = """
- job:
    name: greet
    run: playbooks/greet.yaml

- project:
    post:
      jobs: [greet]
"""
PLAYBOOK: Final = """
- hosts: all
  tasks:
    - name: Ask for the name
      command: hostname
      register: asked
    - name: Tell what Zuul said of the node
      copy:
        dest: "FOLDER/{{ zuul.newrev }}.{{ asked.stdout }}"
        content: "{{ {'hostname': asked.stdout, 'ssh': ssh, 'nodepool': nodepool} | to_json }}"
      vars:
        ssh:
          user: "{{ ansible_user }}"
          port: "{{ ansible_port }}"
          python: "{{ ansible_python_interpreter }}"
          arguments: "{{ ansible_ssh_common_args | default('') }}"
    - name: Wait for the test
      wait_for: {path: "FOLDER/{{ zuul.newrev }}.go", timeout: 300, sleep: 1}
    - name: Fail if there is something in it
      command: "test ! -s FOLDER/{{ zuul.newrev }}.go"
"""


class Repositories:
    """The two of them, each with a branch and a first commit.

    Args:
        folder: of all files.
        told: the folder of what a job and the test tell each other: the nodes share the file system
            of this machine. A job of a commit writes ``COMMIT.HOSTNAME``, as JSON, and goes on when
            ``COMMIT.go`` is there, to fail if there is something in it.
    """

    def __init__(self, folder: Path, told: Path) -> None:
        self.base = folder / "bare"
        self._folder = folder
        playbook = PLAYBOOK.replace("FOLDER", str(told))
        contents = {
            CONFIGURATION: {"zuul.yaml": PIPELINES, "playbooks/pre.yaml": PRE_RUN},
            PROJECT: {"zuul.yaml": JOB, "playbooks/greet.yaml": playbook},
        }
        for name, files in contents.items():
            bare, work = self.base / name, folder / "work" / name
            self._git("init", "-q", "--bare", "-b", "main", str(bare))
            self._git("clone", "-q", str(bare), str(work))
            for path, text in files.items():
                (work / path).parent.mkdir(parents=True, exist_ok=True)
                (work / path).write_text(text)
            self._commit(work, "Begin")

    def push(self, text: str) -> str:
        """Change the project, and push; the commit's id."""
        work = self._folder / "work" / PROJECT
        (work / "README").write_text(f"{text}\n")
        return self._commit(work, text)

    def _commit(self, work: Path, message: str) -> str:
        self._git("-C", str(work), "add", "--all")
        self._git("-C", str(work), "commit", "-q", "-m", message)
        self._git("-C", str(work), "push", "-q", "origin", "HEAD:main")
        return self._git("-C", str(work), "rev-parse", "HEAD").strip()

    def _git(self, *words: str) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        who = {f"GIT_{role}_NAME": "Test" for role in ("AUTHOR", "COMMITTER")}
        who |= {f"GIT_{role}_EMAIL": "test@example.org" for role in ("AUTHOR", "COMMITTER")}
        nothing = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        return subprocess.run(
            ["git", *words],
            env={**os.environ, **who, **nothing},
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
