"""A Dask cluster of real processes: the bits of one machine, and what travels."""

import os
import pickle
import signal
import sys

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands.common import cluster_at
from minipeft.data.files import DataError

distributed = pytest.importorskip("distributed")
cluster_module = pytest.importorskip("minipeft.training.cluster")
STEPS = 2
IDS = np.random.default_rng(2).integers(0, 31, (6, 9))
METHODS = {
    "LoRA": lambda: mp.LoRA(rank=2, dropout=0.1),
    "prefix": lambda: mp.PrefixTuning(3),
    "encoded prefix": lambda: mp.Encoded(mp.PrefixTuning(3), mlp_width=4),
}


@pytest.fixture
def executor(cluster):
    with cluster_at(cluster.scheduler_address) as executor:
        yield executor


@pytest.fixture(scope="module")
def model():
    return mp.Decoder(mp.Config(31, 16, 2, 2, 40), np.random.default_rng(0))


def trainer(model, adaptation, executor=None):
    optimizer = mp.AdamW(adaptation.parameters(), 1e-2)
    return mp.Trainer(model, adaptation, optimizer, micro_batches=3, executor=executor)


def trained(model, adaptation, executor=None):
    """Return losses and parameters, as bytes, after a few steps of three shards."""
    one = trainer(model, adaptation, executor)
    losses = [one.step(IDS, IDS) for _ in range(STEPS)]
    return losses, [p.data.tobytes() for p in adaptation.parameters()]


def test_any_number_of_workers_gives_the_bits_of_threads(model, cluster):
    """Workers that come later get the network, too, and all have a part of the work."""
    make = [lambda m=m: m().attach(model, np.random.default_rng(1)) for m in METHODS.values()]
    make.append(lambda: mp.stack([make[0]() for _ in IDS]))  # a user for each row
    expected = [trained(model, new()) for new in make]
    with cluster_at(cluster.scheduler_address) as executor:
        for workers in (1, 2, 3):
            cluster.scale(workers)
            cluster.wait_for_workers(workers)
            assert executor.workers == workers
            assert [trained(model, new(), executor) for new in make] == expected


def test_a_step_is_done_again_if_its_worker_is_killed(model, executor, tmp_path):
    def update(executor, flag):
        adaptation = mp.LoRA(2).attach(model, np.random.default_rng(1))

        def loss(rows, γ, s, ids):
            if s == 1 and not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return model.loss(ids, ids, γ, count=48)

        shards = np.array_split(np.arange(6), 3)
        value = trainer(model, adaptation, executor).update(loss, shards, ids=IDS)
        return value, [p.data.tobytes() for p in adaptation.parameters()]

    (tmp_path / "done").touch()
    assert update(executor, tmp_path / "killed") == update(None, tmp_path / "done")
    assert (tmp_path / "killed").exists()


def test_a_call_that_kills_every_worker_is_an_error(cluster, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    with pytest.raises(DataError, match="--cluster tcp://.*died"):
        with cluster_at(cluster.scheduler_address) as executor:
            executor.submit(lambda: os.kill(os.getpid(), signal.SIGKILL)).result()


def test_the_network_travels_once_and_then_its_name(model, executor, monkeypatch):
    sent, sizes, dumps = [], [], cluster_module.dumps
    register = distributed.Client.register_plugin
    spy = lambda client, *args: sent.append(args) or register(client, *args)
    monkeypatch.setattr(distributed.Client, "register_plugin", spy)
    measured = lambda *args: sizes.append(len(data := dumps(*args))) or data
    monkeypatch.setattr(cluster_module, "dumps", measured)
    adaptation = mp.LoRA(2).attach(model, np.random.default_rng(1))
    trained(model, adaptation, executor)
    γ = sum(p.data.nbytes for p in adaptation.parameters())
    assert len(sent) == 1 and len(sizes) == 3 * STEPS
    assert γ < max(sizes) < γ + 8000 < sum(p.data.nbytes for p in model.parameters())
    assert executor.submit(lambda network: [network], model).result()[0] is model


def test_a_pickled_network_has_tied_tensors_and_no_graph(model):
    from cloudpickle import dumps

    copy = pickle.loads(dumps(model))
    assert copy.head.W is copy.tokens.W and not copy.tokens.W.data.flags.writeable
    assert np.array_equal(copy(IDS).data, model(IDS).data)
    t = mp.Tensor([1.0, 2.0], requires_grad=True)
    one, two, three = pickle.loads(pickle.dumps([t, t, t * 2]))
    assert one is two and one.requires_grad and three.data.tolist() == [2.0, 4.0]
    assert mp.grad((one * one).sum(), one)[0].tolist() == [2.0, 4.0]


def test_a_scheduler_without_workers_is_an_error():
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty:
        with pytest.raises(ValueError, match="no workers: dask worker tcp://"):
            cluster_module.Cluster(empty.scheduler_address, timeout=0.2)


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "minipeft.training.cluster", raising=False)
    with pytest.raises(ValueError, match=r'pip install "minipeft\[cluster\]"'):
        with cluster_at("tcp://127.0.0.1:1"):
            pass
