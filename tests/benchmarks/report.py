"""How large a report is and how fast a browser opens it: figures of ``docs/performance.md``.

    python tests/benchmarks/report.py            a table
    python tests/benchmarks/report.py --json     one JSON object

A made-up run of many trials with 40 calls each; Chromium opens the file from disk, headless, in a
window of 1440 px. Times are the browser's own, from the start of the navigation, median of five; a
busy machine slows them, so its load stands beside. Not a test: nothing fails.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from browser import Page, browser
from made_run import large_report

ROUNDS = 5
_TIMES = "(t => [t.domInteractive, t.loadEventEnd])(performance.getEntriesByType('navigation')[0])"


def opened(page: Page, path: Path) -> tuple[float, float]:
    """Return milliseconds until the page can be used, and until all of it is loaded; medians."""
    times = []
    for _ in range(ROUNDS):
        page.open(path)
        page.settle()
        times.append(page.evaluate(_TIMES))
    usable, loaded = (statistics.median(column) for column in zip(*times, strict=True))
    return usable, loaded


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--trials", type=int, nargs="*", default=[250, 1000, 5000])
    asked = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        files = {n: large_report(Path(scratch) / str(n), n) for n in asked.trials}
        with browser(Path(scratch) / "profile") as page:
            for trials, path in files.items():
                usable, loaded = opened(page, path)
                size = path.stat().st_size / 1e6
                figures = {"mb": size, "usable_ms": usable, "loaded_ms": loaded}
                found.append({"trials": trials, **figures})
    if asked.json:
        sys.stdout.write(json.dumps({"load": os.getloadavg()[0], "reports": found}) + "\n")
        return
    lines = [f"load average {os.getloadavg()[0]:.1f}", "trials      MB  usable ms  loaded ms"]
    form = "{trials:6}  {mb:6.1f}  {usable_ms:9.0f}  {loaded_ms:9.0f}"
    sys.stdout.write("\n".join([*lines, *(form.format(**row) for row in found)]) + "\n")


if __name__ == "__main__":
    main()
