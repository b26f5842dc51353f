"""minipeft feedback: learn from human feedback, on the built-in world."""

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import hf
from ..data.words import duration
from ..tasks.feedback import TRAIN, FeedbackPlan, Pipeline, Results
from ..tasks.feedback_page import TITLES, cell, findings, legend, markdown, rows, samples
from ..tasks.feedback_plot import plot_feedback
from ..tasks.feedback_report import Figures
from ..training.interrupt import Interrupted
from .common import (
    Command,
    Config,
    Json,
    check_at_least,
    optional,
    print_line,
    print_note,
    progress,
    save_plot,
)
from .tables import make_table, print_table
from .work import SETTINGS, keep_settings, read, resumable_part, write_json

REPORT, STAGES = "feedback.json", "stages"


class StoredResults(Results):
    """Results of stages, in files of a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def get(self, name, compute):
        path = self.folder / f"{name}.json"
        if not path.exists():
            write_json(path, {"result": compute()})
        return read(path)["result"]


@dataclass
class Feedback(FeedbackPlan, Command):
    """Learn from human feedback on the built-in world, from demonstrations to PPO."""

    out: optional(Path, "FOLDER") = None
    """Folder for feedback.json, report.md, the policies and, with matplotlib, feedback.png."""
    resume: bool = False
    """Continue what was stopped, from its last checkpoint in FOLDER.part."""
    config: Config = None
    json: Json = False

    def run(self):
        names = "sft_steps", "prompts", "reward_steps", "ppo_steps"
        check_at_least(1, **{name: getattr(self, name) for name in names})
        if self.prompts > TRAIN:
            raise ValueError(f"--prompts must be at most {TRAIN:,}, all that there are")
        check_at_least(0, beta=self.beta, ptx=self.ptx, noise=self.noise, seed=self.seed)
        if self.resume and self.out is None:
            raise ValueError("--resume continues what was begun with --out FOLDER: give both")
        if self.out is None:
            return self.output(self.learn())
        with resumable_part(self.out, self.resume, SETTINGS, has_stages) as part:
            report = self.learn(part)
            part.rename(self.out)
            shutil.rmtree(self.out / STAGES)
            (self.out / SETTINGS).unlink()
            print_note(f"saved in {self.out}")
        self.output(report)

    def learn(self, part: Path | None = None) -> dict:
        """Return the report; with `part`, store there what is finished, and resume from it."""
        base, tokenizer = hf.load("decoder"), hf.load_tokenizer("decoder")
        plan = FeedbackPlan(**{name: getattr(self, name) for name in asdict(FeedbackPlan())})
        pipeline = Pipeline(base, tokenizer, plan, progress)
        if part:
            keep_settings(part, asdict(plan))
            pipeline.folder = part / STAGES
            pipeline.results = StoredResults(part / STAGES)
        start, report = time.perf_counter(), {}
        try:
            for report in Figures(pipeline).report():
                report["seconds"] = time.perf_counter() - start
                name, figures = [*report["policies"].items()][-1]
                print_note(
                    f"{TITLES[name]}: reward {cell(figures['reward'], False)}, after "
                    f"{duration(report['seconds'])}"
                )
        except KeyboardInterrupt as stop:
            if report:
                self.output(report)
            raise (Interrupted(getattr(stop, "code", 130) - 128, part) if part else stop) from None
        if part:
            self.publish(report, pipeline, part)
        return report

    def publish(self, report: dict, pipeline: Pipeline, part: Path) -> None:
        """Write the models, and the report as JSON, as a page and as a plot."""
        image = save_plot(plot_feedback, report, part / "feedback.png")
        (part / "report.md").write_bytes(markdown(report, image).encode())
        write_json(part / REPORT, report)
        hf.save(pipeline.sft, part / "sft", tokenizer=pipeline.tokenizer)
        for name, adaptation in pipeline.policies.items():
            hf.save(adaptation, part / name)

    def show(self, report):
        titles, *body = rows(report)
        table = make_table(titles[0], *(f">{title.replace(' ', chr(10))}" for title in titles[1:]))
        table.padding = (0, 1, 0, 0)
        for row in body:
            table.add_row(*row)
        print_table(table)
        for line in (*findings(report), "", legend(report), "", *samples(report)):
            print_line(line)


def has_stages(part: Path) -> bool:
    """Return whether a checkpoint or a result of a stage is in a folder."""
    return (part / STAGES).exists() and any((part / STAGES).rglob("*.*"))
