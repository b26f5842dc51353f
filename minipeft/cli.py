"""The command line: minipeft compare | train | generate | pretrain | verify."""

import json
import shutil
import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import tyro
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from . import hf
from .adapt import PLAIN
from .compare import Comparison, Plan
from .data import DataError, passages, read_examples, read_text
from .equations import verify
from .generate import generate
from .methods import METHODS, method
from .optim import AdamW, schedule
from .parallel import keep_memory
from .tasks import parts, task
from .tensor import no_grad
from .train import NonFinite, Trainer
from .world import pretrain, sentiment

out = Console()
err = Console(stderr=True)


def unused(folder):
    if folder and folder.exists():
        raise DataError(f"{folder} is there already; name a new folder")


@contextmanager
def filling(folder):
    """A new folder under another name, which takes this one once it is full."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
        new = Path(place, folder.name)
        new.mkdir()
        yield new
        new.rename(folder)


@dataclass
class Compare:
    """Adapt one frozen base by every method, and compare what each reaches and costs."""

    data: Path | None = None
    """Your examples, .jsonl, .csv or .tsv; without: the built-in reviews, some domains held out."""
    text_column: str = "text"
    label_column: str = "label"
    model: Path | None = None
    """A Hugging Face GPT-2 folder; without: the built-in base."""
    methods: tuple[str, ...] = tuple(METHODS)
    full: bool = False
    """Train ten times longer, from five seeds."""
    out: Path | None = None
    """A folder for the adaptations and compare.json."""
    json: bool = False
    """Print one JSON document and nothing else."""

    def run(self):
        start = time.perf_counter()
        for name in self.methods:
            method(name)  # an unknown one is told at once
        unused(self.out)
        model, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        chosen = task(*self.examples(), tokenizer, model.config.length)
        plan = Plan(steps=600, seeds=5) if self.full else Plan()
        comparison = Comparison(model, chosen, plan)
        with nullcontext() if self.json else Live(console=out, refresh_per_second=4) as live:
            for report in comparison.reports(self.methods):
                report["seconds"] = time.perf_counter() - start
                if live:
                    live.update(self.table(report))
        if self.out:
            with filling(self.out) as new:
                for name, adapt in comparison.adapts.items():
                    hf.save(adapt, new / name)
                (new / "compare.json").write_text(json.dumps(report, indent=2))
        if self.json:
            print(json.dumps(report))
        else:
            out.print()  # where there is no terminal, the table ends without a new line

    def examples(self):
        if self.data is None:
            return "sentiment", sentiment.splits()
        examples = read_examples(self.data, self.text_column, self.label_column)
        return self.data.name, parts(examples, np.random.default_rng(0))

    def table(self, report):
        tests = list(report["majority"])
        size = f"{report['parameters']:,} parameters, frozen"
        took = f"{report['seconds']:.0f} s"
        table = Table(title=f"{escape(report['task'])}: {size}", caption=took)
        for name in ("method", "trained", "of the base", *tests, "rate", "seconds"):
            table.add_column(name, justify="left" if name == "method" else "right")
        majority = [f"{100 * report['majority'][test]:.1f}" for test in tests]
        table.add_row("(majority)", "0", "0 %", *majority, "", "")
        for r in report["results"]:
            scores = [f"{100 * r[t]['mean']:.1f} ± {100 * r[t]['spread']:.1f}" for t in tests]
            share = f"{100 * r['share']:.2f} %"
            costs = f"{r['rate']:g}", f"{r['seconds']:.1f}"
            table.add_row(r["method"], f"{r['trainable']:,}", share, *scores, *costs)
        for name in self.methods[len(report["results"]) :][:1]:
            table.add_row(name, *["…"] * (len(table.columns) - 1))
        return table


@dataclass
class Train:
    """Adapt a language model to a text, by one method."""

    data: Path
    """A text file, UTF-8; its last tenth is held out."""
    out: Path
    """The folder for the adaptation, and metrics.jsonl."""
    method: str = "prefix"
    """One of prompt, prefix, adapter, lora, full."""
    fields: tuple[str, ...] = ()
    """Fields of the method, all behind one flag: --fields length=20 init=normal"""
    model: Path | None = None
    """A Hugging Face GPT-2 folder; without: the built-in base."""
    steps: int = 300
    rate: float = 3e-3
    batch: int = 16
    length: int = 64
    """Tokens of a passage."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: int = 20
    seed: int = 0

    def run(self):
        adapt = method(self.method, **dict(map(self.field, self.fields)))
        if min(self.steps, self.batch, self.length - 1) < 1 or not 0 < self.rate < np.inf:
            raise DataError("--steps and --batch are at least 1, --length 2, and --rate above 0")
        unused(self.out)
        model, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        adapt.attach(model, np.random.default_rng(self.seed))
        ids = np.array(tokenizer.encode(read_text(self.data)).ids)
        own, kept = np.split(ids, [int(0.9 * len(ids))])
        held = held_out(kept, self.batch, self.length)
        before, start = evaluate(model, PLAIN, held), time.perf_counter()
        rates = schedule(self.schedule, self.steps, self.warmup)
        trainer = Trainer(model, adapt, AdamW(adapt.parameters(), self.rate), rates, seed=self.seed)
        batches = passages(own, self.batch, self.length, np.random.default_rng(self.seed))
        with TemporaryDirectory() as place, filling(self.out) as new:
            log = Path(place, "metrics.jsonl")
            trainer.fit(batches, self.steps, log=log)
            hf.save(adapt, new)
            shutil.copy(log, new)
        trained = sum(p.data.size for p in adapt.parameters())
        seconds = time.perf_counter() - start
        out.print(f"{adapt}: {trained:,} numbers in {seconds:.0f} s", markup=False)
        after = evaluate(model, adapt, held)
        out.print(f"held-out loss a token: {before:.3f} with the base, {after:.3f} adapted")

    def field(self, text):
        name, given, value = text.partition("=")
        if not given:
            raise DataError(f"--fields {text}: write name=value")
        try:
            return name, json.loads(value)
        except json.JSONDecodeError:
            return name, value


def held_out(ids, size, length, most=20):
    """At most so many batches of passages, one after the other."""
    rows = ids[: len(ids) // length * length].reshape(-1, length)
    if not len(rows):
        raise DataError(f"of {len(ids)} held-out tokens there is no passage of {length}: more text")
    return [rows[at : at + size] for at in range(0, min(len(rows), most * size), size)]


def evaluate(model, adapt, batches):
    """The mean loss of a token."""
    with no_grad():
        losses = [float(model.loss(ids, ids, adapt)) for ids in batches]
    return float(np.average(losses, weights=[len(ids) for ids in batches]))


@dataclass
class Generate:
    """Let the model go on with a text."""

    prompt: str
    adaptation: Path | None = None
    """A folder from `train`; without: the base alone."""
    model: Path | None = None
    tokens: int = 60
    temperature: float = 0.8
    top_k: int = 40
    seed: int = 0

    def run(self):
        model, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        adapt = hf.load_adaptation(self.adaptation, model) if self.adaptation else PLAIN
        ids = [tokenizer.encode(self.prompt).ids or [0]]
        new = generate(
            model,
            ids,
            adapt,
            max_new_tokens=self.tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            rng=np.random.default_rng(self.seed),
        )
        print(self.prompt + tokenizer.decode(new[0].tolist()))


@dataclass
class Pretrain:
    """Make the built-in base anew: the world's text, its vocabulary, and a language model of it."""

    out: Path
    steps: int = 2500
    seed: int = 0

    def run(self):
        held = pretrain.pretrain(self.out, self.steps, self.seed)
        out.print(f"{self.out}: held-out loss a token {held:.3f}")


@dataclass
class Verify:
    """Check every equation against the library, on fresh random draws."""

    draws: int = 5
    seed: int | None = None
    json: bool = False

    def run(self):
        results = verify(self.draws, self.seed)
        if self.json:
            told = [
                asdict(r) | {"worst": r.worst if np.isfinite(r.worst) else None} for r in results
            ]
            print(json.dumps(told))
        else:
            table = Table("id", "formula", "source", "draws", "worst", "")
            for r in results:
                mark = "ok" if r.ok else escape(f"fails: {r.why}")
                formula, source = escape(r.formula), escape(r.source)
                table.add_row(r.id, formula, source, str(r.draws), f"{r.worst:.1e}", mark)
            out.print(table)
        return 0 if all(r.ok for r in results) else 1


COMMANDS = {
    "compare": Compare,
    "train": Train,
    "generate": Generate,
    "pretrain": Pretrain,
    "verify": Verify,
}


def main(args=None):
    """Run one command, and exit: 0, 1 an equation fails, 2 usage, 3 bad input, 4 memory, 5 NaN."""
    keep_memory()
    command = tyro.extras.subcommand_cli_from_dict(COMMANDS, args=args, prog="minipeft")
    try:
        sys.exit(command.run())
    except (ValueError, OSError) as error:
        code, message = 3, error
    except MemoryError as error:
        code, message = 4, f"out of memory: {error}"
    except NonFinite as error:
        code, message = 5, error
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    err.print(f"minipeft: {message}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)
