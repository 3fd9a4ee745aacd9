"""``python -m tests.bench.page FILE…``: put what `--json` wrote onto the page of figures."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from tests.bench.goals import Measured, measured, shown

PAGE: Final = Path(__file__).parents[2] / "docs" / "explanation" / "figures.md"
BEGIN: Final = "<!-- measured: written by `python -m tests.bench.page` -->\n"
END: Final = "<!-- end of measured -->\n"


def main(files: list[str]) -> int:
    """Write the page anew; a workload that is in several files is taken from the last."""
    if not files:
        print("python -m tests.bench.page FILE… (what make bench wrote with --json)")
        return 2
    documents = [json.loads(Path(file).read_text()) for file in files]
    if any(document["short"] for document in documents):
        print("A short run has no place on the page: its workloads are others.", file=sys.stderr)
        return 1
    PAGE.write_text(with_figures(PAGE.read_text(), documents))
    return 0


def with_figures(page: str, documents: list[dict[str, Any]]) -> str:
    """The page with these figures between its marks.

    Raises:
        ValueError: the page has no marks.
    """
    figures: dict[str, dict[str, float]] = {}
    for document in documents:
        figures |= {name: of for name, of in document["figures"].items() if of}
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no lines {BEGIN.strip()} and {END.strip()}")
    machine = documents[-1]["machine"]
    busy = max((of["others_cores"] for of in figures.values() if "others_cores" in of), default=0.0)
    lines = [
        f"On {machine['cores']} cores ({machine['processor']}), {machine['memory_mib']} MiB, Linux "
        f"{machine['kernel']}, Python {machine['python']}; other processes kept up to {busy:.1f} "
        "cores busy meanwhile.",
        "",
        "| what | measured | goal | short by |",
        "|---|---|---|---|",
        *(_line(row) for row in measured(figures, judged=True)),
    ]
    return before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + after


def _line(row: Measured) -> str:
    value = shown(row.value, row.row.unit)
    missed = f"**{shown(row.short_by, row.row.unit)}**" if row.met is False else ""
    return f"| {row.row.what} | {value} | {row.goal} | {missed} |".replace("|  |", "| |")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
