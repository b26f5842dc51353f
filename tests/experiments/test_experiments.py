"""Every experiment runs at the smallest size; methods are compared alike; results are stored."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands.common import cluster_at
from minipeft.experiments import experiments
from minipeft.experiments.claim import Rows
from minipeft.experiments.results import contrasts, read, save
from minipeft.experiments.study import Settings, Study, Trial
from minipeft.storage.json import CheckpointError
from minipeft.training.trainer import NonFinite, Trainer

EXPERIMENTS = experiments()
TINY = Settings(
    seeds=2,
    steps=2,
    lrs=(1e-2,),
    train=32,
    dev=4,
    test=4,
    documents=40,
    pretraining_steps=2,
)
NUMBERS = 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, *range(25, 31)
FOLDERS = {"gpt2": "decoder", "bert": "encoder"}


class TinyStudy(Study):
    """A study whose bases have random weights, a width of 16 and one block."""

    def base(self, size="", family="gpt2"):
        tokenizer = mp.load_tokenizer(FOLDERS[family])
        shape = {"width": 16, "layers": 1, "heads": 2, "length": 256}
        config = {"gpt2": mp.Config, "bert": mp.BertConfig}[family]
        network = {"gpt2": mp.Decoder, "bert": mp.MaskedLM}[family]
        rng = np.random.default_rng(0)
        return network(config(tokenizer.get_vocab_size(), **shape), rng), tokenizer


def test_every_claim_has_an_experiment():
    assert [*EXPERIMENTS] == [f"CL-{n}" for n in NUMBERS]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_runs(name, tmp_path):
    module, names = EXPERIMENTS[name], []
    study = TinyStudy(TINY, tmp_path, show=lambda name, step, steps: names.append(step <= steps))
    rows, claim = [*module.run(study)], module.CLAIM
    assert rows and all(names)
    for row in rows:
        for values in row["scores"].values():
            seeds = TINY.test if name == "CL-21" else TINY.seeds  # its values are of test prompts
            assert 1 <= len(values) <= seeds and np.isfinite(values).all()
    assert len(contrasts(claim, rows)) == len(claim.contrasts) - (name == "CL-26") * 2  # n ≤ 32
    assert claim.verdict(Rows(rows)).split()[0] in ("shown", "not", "contradicted")
    save(claim, TINY, rows, 1.0, tmp_path)
    assert read(claim, tmp_path)["rows"] == json.loads(json.dumps(rows))


@pytest.mark.parametrize("module", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_an_experiment_is_a_page_with_a_source(module):
    text, claim = Path(module.__file__).read_text(), module.CLAIM
    assert len(text.splitlines()) <= 150 and text.startswith(f'"""{claim.id}: ')
    sources = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
    assert claim.source.split(",")[0].split(";")[0] in sources


# -- a study


def trials(log):
    """Return f(seed) -> a trial on random tokens, which appends (seed, norm of γ) to the log."""
    model = mp.Decoder(mp.Config(5, width=4, layers=1, heads=1, length=8), np.random.default_rng(0))

    def trial(seed):
        rng = np.random.default_rng(seed)
        γ = mp.LoRA(1).attach(model, rng)
        ids = rng.integers(0, 5, (2, 6))
        start = [p.data.copy() for p in γ.parameters()]

        def moved():
            return float(sum(abs(p.data - s).sum() for p, s in zip(γ.parameters(), start)))

        def scores():
            log.append((seed, moved()))
            return {"test": moved()}

        return Trial(model, γ, iter(lambda: (ids, ids), None), lambda: -moved(), scores)

    return trial


def test_the_first_seed_chooses_the_learning_rate_on_dev():
    log, shown = [], []
    settings = Settings(seeds=3, steps=4, lrs=(1e-2, 1e-4, 1e-3))
    study = Study(settings, show=lambda name, step, steps: shown.append((step, steps)))
    row = study.row("LoRA", trials(log), x=7)
    assert row["lr"] == 1e-4 and row["x"] == 7  # dev is highest where the parameters move least
    assert (
        row["dev"].keys() == {"0.01", "0.0001", "0.001"}
        and max(row["dev"].values()) == row["dev"]["0.0001"]
    )
    assert [seed for seed, _ in log] == [0, 1, 2]  # the test examples are read at this rate alone
    assert row["scores"]["test"] == [moved for _, moved in log]
    assert row["scores"]["test"][0] == -row["dev"]["0.0001"]
    assert shown == [(i, 20) for i in range(1, 21)]  # three rates and two more seeds, of four steps
    assert row["params"] == sum(p.data.size for p in trials([])(0).adaptation.parameters())


def test_a_row_has_the_same_results_on_a_cluster(cluster):
    shown, settings = [], Settings(seeds=2, steps=3, lrs=(1e-2, 1e-3))
    with cluster_at(cluster.scheduler_address) as remote:
        show = lambda name, step, steps: shown.append((step, steps))
        row = Study(settings, show=show, cluster=remote).row("LoRA", trials([]))
    assert row == Study(settings).row("LoRA", trials([]))
    assert shown == [(3, 9), (6, 9), (9, 9)]


def test_a_run_that_diverges_is_not_chosen(monkeypatch):
    def fit(trainer, *args, **options):
        if trainer.optimizer.lr > 1:
            raise NonFinite("the loss is nan")

    def trial(seed):
        value = next(devs)
        return replace(trials([])(seed), dev=lambda: value)

    devs = iter([np.nan, -9.0])
    monkeypatch.setattr(Trainer, "fit", fit)
    row = Study(Settings(seeds=1, steps=3, lrs=(1e9, 1e-3))).row("LoRA", trial)
    assert row["lr"] == 1e-3


def test_results_of_another_claim_are_refused(tmp_path):
    claim = next(iter(EXPERIMENTS.values())).CLAIM
    assert read(claim, tmp_path) is None
    for content in ("{}", '{"claim": "CL-99", "rows": [1]}', f'{{"claim": "{claim.id}"}}'):
        (tmp_path / f"{claim.id}.json").write_text(content)
        with pytest.raises(CheckpointError, match="measure it again"):
            read(claim, tmp_path)
