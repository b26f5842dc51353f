"""minipeft compare: train several methods on one frozen base model and one task."""

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from .. import hf
from ..data.words import count, duration
from ..methods import KINDS, method
from ..tasks.builtin import TASKS, built_in
from ..tasks.classify import Classify
from ..tasks.compare import Comparison, Plan
from ..tasks.plot import plot
from ..tasks.report import legend, markdown
from ..tasks.write import Imitate
from ..training.checkpoint import checksum
from ..training.interrupt import Interrupted
from .classifiers import classify_task, read_splits, write_labels
from .common import (
    Command,
    Config,
    Json,
    LabelColumn,
    Model,
    TextColumn,
    check_at_least,
    check_lr,
    did_you_mean,
    flag,
    optional,
    print_note,
    progress,
    stdout,
)
from .runs import REPORT, StoredRuns, begin, has_runs, remove_work, store_report
from .tables import comparison_table, print_table
from .work import SETTINGS, resumable_part, write_json

DEFAULT = "sentiment"

# to evaluate an example on two cores; training takes twice that
SECONDS = dict(sentiment=5e-4, nli=5e-4, table=2e-3, topic=5e-4, tags=3e-4, style=2e-3)


class Timer:
    """The time that a comparison takes, and how much of it is left."""

    def __init__(self, comparison: Comparison, methods: int, earlier: dict | None):
        self.start, self.before = time.perf_counter(), earlier["seconds"] if earlier else 0
        self.comparison, self.total = comparison, comparison.count_steps(methods)
        self.skipped = comparison.count_steps(len(earlier["results"])) if earlier else 0

    def seconds(self) -> float:
        """Return the seconds so far, with those of earlier parts."""
        return self.before + time.perf_counter() - self.start

    def in_words(self) -> str:
        """Return the time so far, and an estimate of the time that is left."""
        text, left = f"after {duration(self.seconds())}", self.total - self.comparison.steps
        if left <= 0:
            return text
        per_step = (self.seconds() - self.before) / (self.comparison.steps - self.skipped)
        return f"{text}, about {duration(left * per_step)} left"


@dataclass
class Compare(Plan, Command):
    """Train several methods on one frozen model; compare their scores and costs."""

    task: optional(str, "TASK") = None
    """Built-in task: sentiment, nli, topic, tags, table or style.  Its OOD test examples are of
    kinds that training does not have. (default: sentiment)"""
    data: optional(Path, "FILE") = None
    """Examples with labels (.jsonl, .json, .csv, .tsv), instead of a built-in task."""
    dev: optional(Path, "FILE", "Examples to choose the learning rate by.") = None
    test: optional(Path, "FILE", "Examples to test on.") = None
    text_column: TextColumn = ("text",)
    label_column: LabelColumn = "label"
    model: Model = None
    methods: flag(tuple[str, ...], "[METHOD ...]") = ()
    """Names of methods, or `all`. (default: one method of each kind)"""
    long: bool = False
    """Train for ten times as many steps, and from two more seeds."""
    out: optional(Path, "FOLDER") = None
    """Folder for the adaptations, compare.json, report.md and, with matplotlib, compare.png."""
    resume: bool = False
    """Continue a comparison that was stopped, from its finished training runs in FOLDER.part."""
    config: Config = None
    json: Json = False

    renamed = {"batch": "batch-size", "rates": "lrs", "full": "long"}

    def run(self):
        self.check_flags()
        plan = Plan(self.steps, self.batch_size, self.lrs, self.seeds)
        plan = plan.longer() if self.long else plan
        if self.out is None:
            return self.output(self.compare(plan))
        with resumable_part(self.out, self.resume, SETTINGS, has_runs) as part:
            report = self.compare(plan, part)
            self.publish(report, part)
        self.output(report)

    def check_flags(self):
        """Raise ValueError for flags that are out of range or exclude one another."""
        check_at_least(1, steps=self.steps, batch_size=self.batch_size, seeds=self.seeds)
        check_lr(*self.lrs, name="lrs")
        for name in set(self.methods) - {"all"}:
            method(name)  # raises ValueError for an unknown name
        if not self.data and (self.dev or self.test):
            raise ValueError("--dev and --test are for examples of your own: also give --data")
        if self.task and self.task not in TASKS:
            hint = did_you_mean(self.task, TASKS)
            raise ValueError(
                f"no task is called {self.task!r}{hint} The tasks are {', '.join(TASKS)}"
            )
        if self.task and self.data:
            raise ValueError("--task is a built-in task, --data examples of your own: give one")
        if self.resume and self.out is None:
            raise ValueError("--resume continues a comparison in --out FOLDER: give both")

    def compare(self, plan: Plan, part: Path | None = None) -> dict:
        """Return the report; with `part`, store there what is finished, and resume from it.

        When a signal stops it, the report so far is printed.
        """
        kind = Classify if self.data else TASKS[self.task or DEFAULT][0]
        methods = list(dict.fromkeys(self.method_names(kind.methods)))
        if others := [name for name in methods if name not in kind.methods]:
            raise ValueError(
                f"the task {self.task} can't be learned by {', '.join(others)}; it can by "
                f"{', '.join(kind.methods)}"
            )
        if self.data is None and self.model in hf.pretrained.BUILT_IN:
            print_note(self.estimate(plan, methods))
        comparison = Comparison(self.make_task(), plan)
        earlier = None
        if part:
            comparison.runs = StoredRuns(part)
            earlier = begin(part, self.settings(comparison, methods))
        timer = Timer(comparison, len(methods), earlier)
        try:
            with progress("training", comparison.count_steps(len(methods))) as bar:
                comparison.show = bar.show
                for report in comparison.run(methods, earlier):
                    report["seconds"] = timer.seconds()
                    if comparison.adaptations:
                        self.store(report, comparison, part)
                        print_note(f"{report['results'][-1]['method']} done {timer.in_words()}")
        except (KeyboardInterrupt, SystemExit) as stop:
            self.output(report)
            raise (Interrupted(getattr(stop, "code", 130) - 128, part) if part else stop) from None
        return report

    def estimate(self, plan: Plan, methods: list[str]) -> str:
        """Return what will be done and about how long it takes, of a built-in task and base."""
        trained = plan.runs * plan.steps * plan.batch_size
        evaluated = len(plan.lrs) * 500 + plan.seeds * 2000  # dev; test and OOD
        seconds = SECONDS[self.task or DEFAULT] * len(methods) * (2 * trained + evaluated)
        runs = count(len(methods) * plan.runs, "training run")
        return (
            f"{count(len(methods), 'method')}, {runs} of {count(plan.steps, 'step')}: about "
            f"{duration(seconds)} on two cores"
        )

    def method_names(self, suitable):
        """Return the methods to train; `suitable` are those that can learn the task."""
        if "all" in self.methods:
            return suitable
        return self.methods or [name for name in KINDS if name in suitable]

    def make_task(self):
        """Return the task: the examples in --data, or a built-in one."""
        base, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        if self.data is None:
            return built_in(self.task or DEFAULT, base, tokenizer)
        files = {"train": self.data, "dev": self.dev, "test": self.test}
        columns = self.text_column, self.label_column
        splits = read_splits(files, columns, np.random.default_rng(0), {"dev": 0.1, "test": 0.2})
        return classify_task(self.data.name, splits, base, tokenizer)

    def settings(self, comparison: Comparison, methods: list[str]) -> dict:
        """Return, by flag, what must be equal to resume a comparison."""
        task, base = comparison.task, comparison.task.base
        weights = checksum(t.data for t in base.parameters())
        texts = crc32(repr(task.examples).encode())
        return {
            "data" if self.data else "task": f"{task.name}, tokens {texts:08x}",
            "model": f"{type(base).__name__}, weights {weights:08x}",
            "methods": methods,
            **asdict(comparison.plan),
        }

    def store(self, report: dict, comparison: Comparison, part: Path | None) -> None:
        """Write the adaptation of the last method, and the report so far."""
        if part is None:
            return
        task, name = comparison.task, report["results"][-1]["method"]
        adaptation = comparison.adaptations[name]
        shutil.rmtree(part / name, ignore_errors=True)  # of a save that was killed
        if isinstance(task, Imitate):
            for user in range(task.users):
                hf.save(adaptation.user(user), part / name / f"{user:03}")
        else:
            hf.save(adaptation, part / name)
        if type(task) is Classify:
            write_labels(part / name, [str(c) for c in task.classes])
        store_report(part, report)

    def publish(self, report: dict, part: Path) -> None:
        """Write the report as JSON, as a page and as a plot; give the folder its name."""
        image = "compare.png"
        try:
            plot(report, part / image)
        except ImportError:
            print_note("no plot without matplotlib: pip install minipeft[plot]")
            image = None
        except Exception as error:  # a picture is not worth the results
            print_note(f"no plot: {error}")
            image = None
        (part / "report.md").write_bytes(markdown(report, image).encode(errors="backslashreplace"))
        write_json(part / REPORT, report)
        part.rename(self.out)
        remove_work(self.out)

    def show(self, report):
        stdout.print(legend(report), markup=False, highlight=False)
        print_table(comparison_table(report, stdout.width))
