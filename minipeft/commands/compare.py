"""minipeft compare: train several methods on one frozen base model and one task."""

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from .. import hf
from ..data.words import count, duration
from ..methods import KINDS, METHODS, method
from ..model.encoder_decoder import EncoderDecoder
from ..tasks.base import Task
from ..tasks.builtin import STEPS, TASKS, built_in
from ..tasks.classify import Classify
from ..tasks.compare import PROBE, Comparison
from ..tasks.forgetting import general_text
from ..tasks.plan import Plan
from ..tasks.plot import plot
from ..tasks.report import legend, markdown, percent, split_name
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
    Pool,
    TextColumn,
    check_at_least,
    check_lr,
    cluster_at,
    did_you_mean,
    flag,
    optional,
    print_note,
    progress,
    save_plot,
    stdout,
)
from .runs import REPORT, StoredRuns, begin, has_runs, keep_plan, remove_work, store_report
from .tables import comparison_table, print_table
from .text_to_text import text_task
from .work import SETTINGS, resumable_part, write_json

DEFAULT = "sentiment"

REHEARSAL = 10  # seconds, to measure what the methods cost
BUDGET = 600  # seconds at most, with a base or examples of one's own, unless one asks for more


class Timer:
    """The time that a comparison takes, and how much of it is left."""

    def __init__(self, comparison: Comparison, total: int, before: float):
        self.comparison, self.total = comparison, total
        self.start, self.before = time.perf_counter(), before

    def seconds(self) -> float:
        """Return the seconds so far, with those of earlier parts."""
        return self.before + time.perf_counter() - self.start

    def in_words(self) -> str:
        """Return the time so far, and an estimate of the time that is left."""
        steps, text = self.comparison.steps, f"after {duration(self.seconds())}"
        if not 0 < steps < self.total:
            return text
        per_step = (self.seconds() - self.before) / steps
        return f"{text}, about {duration((self.total - steps) * per_step)} left"


@dataclass
class Compare(Plan, Command):
    """Train several methods on one frozen model; compare their scores and costs."""

    task: optional(str, "TASK") = None
    """Built-in task: sentiment, nli, topic, tags, table, qa, summary or style.  Its OOD test
    examples are of kinds that training does not have. (default: sentiment)"""
    data: optional(Path, "FILE") = None
    """Examples with labels (.jsonl, .json, .csv, .tsv), instead of a built-in task."""
    dev: optional(Path, "FILE", "Examples to choose the pool by and to follow the training.") = None
    test: optional(Path, "FILE", "Examples to test on.") = None
    text_column: TextColumn = ("text",)
    label_column: LabelColumn = "label"
    model: Model = None
    steps: optional(int, "INT") = None
    """Optimizer steps of each training run. (default: 300; nli 800, style 100)"""
    pilot_steps: optional(int, "INT") = None
    """Optimizer steps of each pilot run, which chooses the learning rate; 0: no pilot.
    (default: a fifth of --steps, at most 60)"""
    lrs: optional(tuple[float, ...], "FLOAT [FLOAT ...]") = None
    """Learning rates to try; the first is taken, unless another has a clearly lower loss.
    (default: that of the method, a third and three times of it)"""
    pool: Pool = None
    text: optional(Path, "FILE") = None
    """A general text: how much worse the adapted model predicts it is what it forgets.
    (default, for a built-in base: held-out text of the built-in world)"""
    words: optional(str, "TEXT") = None
    """Text that prompts and prefixes start from. (default: random words)"""
    hidden: optional(int, "INT") = None
    """Width of a hidden layer of the probe, which is then trained. (default: a linear probe)"""
    methods: flag(tuple[str, ...], "[METHOD ...]") = ()
    """Names of methods, or `all`. (default: one method of each kind)"""
    budget: optional(float, "SECONDS") = None
    """Time to take, with more steps or with fewer seeds and steps.
    (default: for a base or examples of your own at most 600)"""
    long: bool = False
    """Train for ten times as many steps, and from two more seeds."""
    out: optional(Path, "FOLDER") = None
    """Folder for the adaptations, compare.json, report.md and, with matplotlib, compare.png."""
    cluster: optional(str, "ADDRESS") = None
    """Dask scheduler, tcp://HOST:PORT: its workers take the training runs. (default: threads)"""
    resume: bool = False
    """Continue a comparison that was stopped, from its finished training runs in FOLDER.part."""
    config: Config = None
    json: Json = False

    renamed = {"batch": "batch-size", "rates": "lrs", "full": "long"}

    def run(self):
        self.check_flags()
        with cluster_at(self.cluster) as cluster:
            if self.out is None:
                return self.output(self.compare(cluster))
            with resumable_part(self.out, self.resume, SETTINGS, has_runs) as part:
                report = self.compare(cluster, part)
                self.publish(report, part)
        self.output(report)

    def check_flags(self):
        """Raise ValueError for flags that are out of range or exclude one another."""
        check_at_least(1, steps=1 if self.steps is None else self.steps, seeds=self.seeds)
        check_at_least(1, batch_size=self.batch_size)
        check_at_least(1, budget=1 if self.budget is None else self.budget)
        check_at_least(0, pilot_steps=self.pilot_steps or 0)
        check_at_least(1, hidden=1 if self.hidden is None else self.hidden)
        if self.lrs is not None:
            check_lr(*self.lrs, name="lrs")
        if self.long and self.budget:
            raise ValueError("--long multiplies the steps, --budget fits them: give one")
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
        if self.pool and not issubclass(TASKS[self.task or DEFAULT][0], Classify):
            raise ValueError(f"--pool is for classification, and {self.task} generates text")
        if self.resume and self.out is None:
            raise ValueError("--resume continues a comparison in --out FOLDER: give both")

    def compare(self, cluster=None, part: Path | None = None) -> dict:
        """Return the report; with `part`, store there what is finished, and resume from it.

        When a signal stops it, the report so far is printed.
        """
        comparison, earlier = self.make_comparison(cluster), {}
        methods = self.chosen_methods(comparison.task)
        if part:
            comparison.runs = StoredRuns(part)
            earlier = begin(part, self.settings(comparison, methods))
        done = {result["method"] for result in earlier.get("results", ())}
        left = [name for name in methods if name not in done]
        trained = [n for n in left if not comparison.task.is_solved(comparison.plan.method(n))]
        if trained:
            comparison.rehearse(trained, REHEARSAL)
            comparison.plan = self.fitted_plan(comparison, trained)
            if part:
                comparison.plan = keep_plan(part, comparison.plan)
            print_note(estimate(comparison, trained))
        total = comparison.plan.count_steps(trained)
        timer = Timer(comparison, total, earlier.get("seconds", 0))
        try:
            with progress("training", total) as bar:
                comparison.show = bar.show
                for report in comparison.run(methods, earlier):
                    report["seconds"] = timer.seconds()
                    if comparison.adaptations:
                        self.store(report, comparison, part)
                    print_note(f"{last_row(report)}, {timer.in_words()}")
        except KeyboardInterrupt as stop:
            self.output(report)
            raise (Interrupted(getattr(stop, "code", 130) - 128, part) if part else stop) from None
        return report

    def chosen_methods(self, task: Task) -> list[str]:
        """Return the methods to compare; raise ValueError for one that can't learn the task."""
        methods = list(dict.fromkeys(self.method_names(task)))
        if others := [name for name in methods if name not in task.methods]:
            raise ValueError(
                f"the task {task.name} can't be learned by {', '.join(others)}; it can by "
                f"{', '.join(task.methods)}"
            )
        from_words = [name for name in METHODS if "words" in METHODS[name].__dataclass_fields__]
        if self.words is not None and {*methods}.isdisjoint(from_words):
            raise ValueError(f"--words is for {', '.join(from_words)}, and none is compared")
        if self.hidden is not None and PROBE not in methods:
            raise ValueError(f"--hidden is for {PROBE}, which is not compared")
        return methods

    def make_comparison(self, cluster=None) -> Comparison:
        """Return the comparison on the task, with the plan as the flags have it."""
        plan = Plan(**{name: getattr(self, name) for name in Plan.__dataclass_fields__})
        plan.steps = self.steps or STEPS.get(self.task, Plan.steps)
        plan.lrs = self.lrs or ()
        if self.pilot_steps is None:
            plan.pilot_steps = max(1, min(Plan.pilot_steps, plan.steps // 5))
        task = self.make_task()
        text = general_text(task.base, task.tokenizer, self.text)
        plan = plan.longer() if self.long else plan
        return Comparison(task, plan, text=text, cluster=cluster)

    def fitted_plan(self, comparison: Comparison, trained: list[str]) -> Plan:
        """Return the plan that takes the budget or, without one, at most that of own examples."""
        plan, seconds = comparison.plan, lambda plan: comparison.seconds(plan, trained)
        if self.budget:
            return plan.within(self.budget, seconds)
        own = self.data or self.model not in hf.pretrained.BUILT_IN
        is_long = own and not self.long and seconds(plan) > BUDGET
        return plan.within(BUDGET, seconds) if is_long else plan

    def method_names(self, task: Task):
        """Return the methods to train: those that are named, or those that suit task and model."""
        if self.methods and "all" not in self.methods:
            return self.methods
        names = [name for name in (task.methods if self.methods else KINDS) if name in task.methods]
        fitting = [name for name in names if attaches(name, task)]
        if others := ", ".join(name for name in names if name not in fitting):
            print_note(f"left out, since the model has no layers for it: {others}")
        return fitting

    def make_task(self) -> Task:
        """Return the task: the examples in --data, or a built-in one."""
        base, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        if self.pool and isinstance(base, EncoderDecoder):
            raise ValueError("--pool is for a head, and an encoder-decoder writes the labels")
        if self.data is None:
            options = {"pool": self.pool} if self.pool else {}
            return built_in(self.task or DEFAULT, base, tokenizer, **options)
        files = {"train": self.data, "dev": self.dev, "test": self.test}
        columns, rng = (self.text_column, self.label_column), np.random.default_rng(0)
        shares = {"dev": 0.1, "test": 0.2}
        if isinstance(base, EncoderDecoder):
            return text_task(self.data.name, files, columns, base, tokenizer, rng, **shares)
        splits = read_splits(files, columns, rng, shares)
        return classify_task(self.data.name, splits, base, tokenizer, pool=self.pool)

    def settings(self, comparison: Comparison, methods: list[str]) -> dict:
        """Return, by flag, what must be equal to resume a comparison."""
        task, base = comparison.task, comparison.task.base
        weights = checksum(t.data for t in base.parameters())
        texts = crc32(repr(task.examples).encode())
        text = None if comparison.text is None else f"{checksum([comparison.text.ids]):08x}"
        return {
            "data" if self.data else "task": f"{task.name}, tokens {texts:08x}",
            "model": f"{type(base).__name__}, weights {weights:08x}",
            "methods": methods,
            "text": text,
            "pool": self.pool,
            "budget": self.budget,
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
        image = save_plot(plot, report, part / "compare.png")
        (part / "report.md").write_bytes(markdown(report, image).encode(errors="backslashreplace"))
        write_json(part / REPORT, report)
        part.rename(self.out)
        remove_work(self.out)
        print_note(f"saved in {self.out}")

    def show(self, report):
        stdout.print(legend(report), markup=False, highlight=False)
        print_table(comparison_table(report, stdout.width))


def attaches(name: str, task: Task) -> bool:
    """Return whether a method can adapt the network of a task, as BitFit one with biases."""
    try:
        method(name).attach(task.network, np.random.default_rng(0))
    except ValueError:
        return False
    return True


def estimate(comparison: Comparison, trained: list[str]) -> str:
    """Return which training runs a comparison has, and about how long they will take."""
    plan = comparison.plan
    pilots = [run for name in trained for run in plan.pilot(name)]
    runs = f"{count(len(trained) * plan.seeds, 'training run')} of {count(plan.steps, 'step')}"
    if pilots:
        runs += f", after {count(len(pilots), 'pilot run')} of {count(pilots[0].steps, 'step')}"
    where = "on the cluster" if comparison.cluster else "on this machine"
    return f"{runs}: about {duration(comparison.seconds(plan, trained))} {where}"


def last_row(report: dict) -> str:
    """Return the scores of the last method, or of the first baseline, in a line."""
    metric = report["metric"]
    if report["results"]:
        result = report["results"][-1]
        name, scores = result["method"], {t: result[t][metric]["mean"] for t in report["tests"]}
    else:
        name, baseline = next(iter(report["baselines"].items()))
        scores = {test: baseline[test][metric] for test in report["tests"]}
    shown = [f"{split_name(test)} {percent(score)} %" for test, score in scores.items()]
    return f"{name}: {', '.join(shown)}"
