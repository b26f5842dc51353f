"""Make the results that a page shows anew, from comparisons that are run now or were stored.

python docs/results.py README.md
python docs/results.py minipeft/world/README.md --from FOLDER FOLDER …

The page says what it shows: after the line `<!-- table of methods -->` comes the table of the first
comparison on sentiment, after `<!-- table of tasks -->` a line for each comparison; the pictures
comparison-light.svg and comparison-dark.svg are of the former.  The rest of the page stays as it
is.  Without --from, `minipeft compare` is run for each task that the page shows.
"""

import argparse
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from minipeft.data.words import count
from minipeft.storage.folders import write_atomically
from minipeft.tasks.builtin import TASKS
from minipeft.tasks.plot import plot
from minipeft.tasks.report import markdown_table, percent, rows

BEGIN, END = "<!-- table of {} -->\n", "<!-- end of table -->\n"
PICTURE = re.compile(r'"([^"]*/comparison-(light|dark)\.svg)"')
INKS = {"light": "#24292f", "dark": "#e6edf3"}
OMITTED = "dev half → end", "s/run", "peak MiB"  # columns that report.md has


def table_of_methods(reports: list[dict]) -> str:
    """Return the table of a comparison without some columns, and how the methods are trained."""
    report, plan = reports[0], reports[0]["plan"]
    titles, *body = rows(report)
    kept = [i for i, title in enumerate(titles) if title not in OMITTED]
    caption = (
        f"{report['metric'].capitalize()} in percent, mean ± standard deviation of "
        f"{count(plan['seeds'], 'seed')}, after {count(plan['steps'], 'step')} with batches of "
        f"{plan['batch_size']}."
    )
    return f"{markdown_table([row[i] for i in kept] for row in [titles, *body])}\n\n{caption}"


def table_of_tasks(reports: list[dict]) -> str:
    """Return a table with a line for each comparison, with scores on test / OOD."""
    titles = "task", "steps", "majority class", "without adaptation", "LoRA", "full fine-tuning"
    order = lambda report: ([*TASKS].index(report["task"]), report["plan"]["steps"])
    lines = map(line_of_task, sorted(reports, key=order))
    return markdown_table([[*titles, "best on test", "best OOD", "ceiling"], *lines])


def line_of_task(report: dict) -> list[str]:
    """Return the line of a comparison."""
    tests, metric = report["tests"], report["metric"]
    majority, (name, baseline) = report["baselines"].items()
    methods = {result["method"]: result for result in report["results"]}
    both = lambda scores: " / ".join(percent(score) for score in scores)
    return [
        f"`{report['task']}`, {metric}",
        f"{report['plan']['steps']:,}",
        both(majority[1][test][metric] for test in tests),
        f"{both(baseline[test][metric] for test in tests)} ({name})",
        *[
            both(mean(report, methods[name], test) for test in tests) + mark(methods[name])
            if name in report["methods"]
            else ""
            for name in ("lora", "full")
        ],
        *[best(report, test) for test in tests],
        both(report["ceiling"][test] for test in tests),
    ]


def mean(report: dict, result: dict, test: str) -> float:
    """Return the mean score of a method."""
    return result[test][report["metric"]]["mean"]


def mark(result: dict) -> str:
    """Return the mark of a method that is not converged, or nothing."""
    return "" if result["converged"] else "*"


def best(report: dict, test: str) -> str:
    """Return the best mean score on a test split, and the method that has it."""
    finite = [r for r in report["results"] if math.isfinite(mean(report, r, test))]
    result = max(finite, key=lambda r: mean(report, r, test))
    return f"{percent(mean(report, result, test))} ({result['method']}{mark(result)})"


TABLES = {  # name of the table: how it is made, of which tasks
    "methods": (table_of_methods, ["sentiment"]),
    "tasks": (table_of_tasks, [*TASKS]),
}


def kind_of(page: Path, text: str) -> str:
    """Return the name of the table that a page shows."""
    for name in TABLES:
        if BEGIN.format(name) in text and END in text.partition(BEGIN.format(name))[2]:
            return name
    begins = " or ".join(BEGIN.format(name).strip() for name in TABLES)
    sys.exit(f"{page} needs a line {begins}, and below it a line {END.strip()}")


def stored(folders: list[Path], tasks: list[str]) -> list[dict]:
    """Return the reports in folders that `minipeft compare --out` wrote, of these tasks."""
    reports = []
    for folder in folders:
        try:
            reports.append(json.loads((folder / "compare.json").read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            sys.exit(f"{folder} has no report of a comparison: {error}")
    if missing := set(tasks) - {report["task"] for report in reports}:
        sys.exit(f"no folder has a comparison on {', '.join(sorted(missing))}")
    return [report for report in reports if report["task"] in tasks]


def compared(task: str) -> dict:
    """Return the report of a comparison that is run now."""
    command = [sys.executable, "-m", "minipeft", "compare", "--task", task, "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8")
    return json.loads(result.stdout) if result.returncode == 0 else sys.exit(result.returncode)


def pictures(page: Path, text: str, report: dict) -> dict[Path, bytes]:
    """Return {path: content} of the pictures of a comparison that a page shows."""
    contents = {}
    with TemporaryDirectory() as folder:
        for name, theme in PICTURE.findall(text):
            plot(report, path := Path(folder, "plot.svg"), INKS[theme], "none")
            contents[page.parent / name] = path.read_bytes()
    return contents


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path, metavar="PAGE")
    parser.add_argument(
        "--from",
        type=Path,
        nargs="+",
        dest="folders",
        metavar="FOLDER",
        help="folders that `minipeft compare --out` wrote",
    )
    args = parser.parse_args(arguments)
    text = args.page.read_text(encoding="utf-8")
    kind = kind_of(args.page, text)
    make_table, tasks = TABLES[kind]
    reports = stored(args.folders, tasks) if args.folders else [compared(task) for task in tasks]
    before, begin, after = text.partition(BEGIN.format(kind))
    try:
        table = make_table(reports)
        files = pictures(args.page, text, reports[0])
    except KeyError as error:
        sys.exit(f"a report has no field {error}: compare again, with this version of minipeft")
    page = f"{before}{begin}{table}\n{END}{after.partition(END)[2]}"
    for path, content in {**files, args.page: page.encode()}.items():
        write_atomically(path, content)


if __name__ == "__main__":
    main()
