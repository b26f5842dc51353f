import json
from itertools import islice

import numpy as np
import pytest
from hypothesis import settings

from tests.support import device

settings.register_profile("laws", derandomize=True, database=None, deadline=None, max_examples=15)
settings.register_profile("wide", database=None, deadline=None, max_examples=500)
settings.load_profile("laws")


def pytest_addoption(parser):
    parser.addoption("--device", default="fake", help="where laws hold too: on fake, or on cuda")


def pytest_configure(config):
    device.name = config.getoption("--device")


def pytest_terminal_summary(terminalreporter):
    """The worst errors of test_matrix.py, in one line."""
    import numpy as np

    found = [p for report in terminalreporter.getreports("passed") for p in report.user_properties]
    kinds = {kind: [error for k, error in found if k == kind] for kind, _ in found}
    if kinds:
        worst = ", ".join(f"worst {kind} {np.max(errors):.1e}" for kind, errors in kinds.items())
        terminalreporter.write_line(f"{len(next(iter(kinds.values())))} pairs, {worst}")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A small model's folder, and beside it world.txt, a text of its world."""
    import minipeft as mp
    from minipeft.world.corpus import documents
    from minipeft.world.vocabulary import train_tokenizer

    folder = tmp_path_factory.mktemp("models") / "base"
    rng = np.random.default_rng(0)
    texts = list(islice(documents(rng), 400))
    model = mp.Decoder(mp.Config(vocabulary=300, width=16, layers=2, heads=2, length=128), rng)
    mp.save(model, folder, tokenizer=train_tokenizer(texts, 300))
    (folder.parent / "world.txt").write_text("\n".join(texts))
    return folder


@pytest.fixture(scope="session")
def cluster():
    """A Dask cluster on this machine, of at least one process."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture
def examples(tmp_path):
    """120 examples with labels that one word gives away."""
    path = tmp_path / "data.jsonl"
    words = [("good", "warm fine kind"), ("bad", "cold dull rude")]
    rows = [
        {"text": f"{word} {i}", "label": y}
        for i in range(20)
        for y, ws in words
        for word in ws.split()
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def run():
    """run("layers", "--json"): the exit code of a command."""
    from minipeft.commands import cli

    def code(*args):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(a) for a in args])
        return stop.value.code or 0

    return code
