"""Commands of the documents that `tests/docs` does not run, each with the reason.

Their options are checked all the same (`test_what_is_not_run_is_at_least_right`).
"""

import re

NOT_RUN = {
    r"make (setup|format|check|test)\b": "it is what runs this test, or what sets it up",
    r"make docs": "it writes into the checkout; tests/meta compares what it would write",
    r"make bench|\.venv/bin/python -m tests\.bench": "takes half an hour; tests/bench runs parts",
    r"make demo|trellis demo": "lasts as long as a demo; tests/demo runs it",
    r"\.venv/bin/python -m docs\.draw_pictures": "draws a demo; tests/docs/test_pictures.py draws",
    r"tests/realcloud/up|.*tests\.real\.record_c(assettes|louds)": "needs a real OpenStack",
    r"(\.venv/bin/)?trellis simulate(?!.*( --for |story\.yaml|known\.yaml))": "takes long; "
    "tests/sim/test_simulate_command.py runs it",
    r"trellis breaker reset": "needs one that is open; tests/cli/test_cli_breakers.py types it",
    r"trellis image (?!list)": "needs an image that is built; tests/cli types them",
    r"trellis provider accept": "needs a cloud that moved; tests/cli types it",
    r"trellis request explain 200-": "needs a Zuul; tests/cli types it",
    r"trellis demand end": "needs a source that was dropped; tests/cli types it",
    r"sudo ": "needs root; tests/ssh types the lines of the page",
    r"trellis node ssh": "a stub lets nobody in; tests/ssh logs in",
    r'export PATH="\$PWD/\.venv/bin:\$PATH"': "tests have the path already",
    r"trellis serve( -c /etc/trellis/trellis\.yaml --log-json)?$": "as `serve -c`, elsewhere",
}
"""Patterns of whole lines, from their beginning."""

NO_COMMANDS = (
    (r"servers = nodes a second", "a formula"),
    (r"upload\.withdrawn", "what an event says"),
    (r"recording = Recording\(", "Python"),
    (r"clouds:", "a file, which tests/docs writes and uses"),
)
"""Indented blocks that nobody types, by how they begin."""


def why_not_run(line: str) -> str:
    """The reason why a command line is not run; "" if it is to be."""
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, line)), "")
