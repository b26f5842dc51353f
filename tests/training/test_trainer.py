"""Training: the optimizer is its formula, shards are the whole, a failed step changes nothing."""

import itertools
import json
import tracemalloc

import numpy as np
import pytest

import minipeft as mp
from minipeft.data.batches import passages
from minipeft.training.optim import clip_factor, loss_and_norm
from minipeft.training.parallel import Pool, gradients, shard_rows
from minipeft.training.trainer import NonFinite

METHODS = [
    lambda: mp.FullFineTuning(),
    lambda: mp.LoRA(rank=2, dropout=0.3),
    lambda: mp.PromptTuning(length=3),
    lambda: mp.Encoded(mp.PrefixTuning(length=3), mlp_width=6),
]


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    return mp.Decoder(mp.Config(vocabulary=31, width=16, layers=2, heads=2, length=40), rng)


def test_adamw_is_its_formula():
    rng = np.random.default_rng(0)
    p = mp.Tensor(rng.normal(size=(3, 2)), requires_grad=True)
    want, m, v = p.data.copy(), 0.0, 0.0
    optimizer = mp.AdamW([p], lr=0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.2)
    for t in range(1, 6):
        g = rng.normal(size=(3, 2))
        optimizer.step([g], factor=1 / t)
        g = g / t
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
        m_hat, v_hat = m / (1 - 0.8**t), v / (1 - 0.95**t)
        want = want - 0.1 * (m_hat / (np.sqrt(v_hat) + 1e-6) + 0.2 * want)
        np.testing.assert_allclose(p.data, want, rtol=1e-12)


def test_step_takes_and_clears_what_backward_left():
    p = mp.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    optimizer = mp.AdamW([p], lr=0.1)
    (p * p).backward(np.ones(2))
    optimizer.step()
    np.testing.assert_allclose(p.data, [0.9, 1.9], rtol=1e-6)
    assert p.grad is None


def test_clip_scales_the_common_norm_to_the_limit():
    grads = [np.array([3.0]), np.array([[4.0]])]
    assert loss_and_norm(np.array(2.0), grads) == (2, 5)
    assert clip_factor(5, limit=1.0) == 0.2
    assert clip_factor(5, limit=5.0) == clip_factor(np.inf, limit=1.0) == 1


@pytest.mark.parametrize("kind, end", [("constant", 1), ("linear", 0.1), ("cosine", 0.024)])
def test_schedules_rise_then_fall(kind, end):
    f = mp.schedule(kind, steps=14, warmup=4)
    assert [f(t) for t in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert f(4) == 1 and f(13) == pytest.approx(end, abs=1e-3)


def test_unknown_schedule_is_named():
    with pytest.raises(
        ValueError, match="schedule='square' must be one of constant, linear, cosine"
    ):
        mp.schedule("square", 10)


@pytest.mark.parametrize("shape", [(1, 1), (8, 32), (32, 64), (7, 300), (64, 128)])
@pytest.mark.parametrize("least", [1, 3, 20])
def test_shards_hold_every_row_once(shape, least):
    shards = shard_rows(shape, model_size=1_000_000, at_least=least)
    assert np.concatenate(shards).tolist() == list(range(shape[0]))
    assert len(shards) in (1, 2, 4, 8, min(least, shape[0])) and all(len(s) for s in shards)
    assert len(shards) >= min(least, shape[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("parts", [2, 4])
def test_sum_over_shards_is_the_whole(model, method, parts):
    model = model.astype(np.float64)
    adaptation = method().attach(model, np.random.default_rng(1))
    ids = np.random.default_rng(2).integers(0, 31, (8, 9))

    def loss(rows, adaptation, s):
        return model.loss(ids[rows], ids[rows], adaptation, count=8 * 8)

    whole = mp.grad(model.loss(ids, ids, adaptation), adaptation.parameters())
    value, sums = gradients(loss, adaptation, np.array_split(np.arange(8), parts), Pool(2), {})
    assert value == pytest.approx(float(model.loss(ids, ids, adaptation)), rel=1e-12)
    for a, b in zip(whole, sums):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_each_shard_has_its_rows_of_a_mixture_and_of_the_mask(model):
    rng, model = np.random.default_rng(1), model.astype(np.float64)
    ann, bob = (mp.PromptTuning(2).attach(model, rng) for _ in range(2))
    each, ids = mp.Each(ann, bob, bob, ann), rng.integers(0, 31, (4, 9))
    mask = np.arange(9) >= [[0], [5], [2], [4]]  # padding on the left
    trainer = mp.Trainer(model, each, mp.AdamW(each.parameters()), micro_batches=4)
    expected = float(model.loss(ids, ids, each, mask=mask))
    assert trainer.step(ids, ids, mask=mask) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "names, shards",
    [
        ("LLPXLXLLXLXL", ["LLLL", "LLL", "PXXXX"]),
        ("LLLLLLLP", ["LLL", "LL", "LLP"]),
        ("LPX", ["L", "P", "X"]),
        ("LXLX", ["L", "L", "XX"]),
    ],
)
def test_shards_of_a_mixture_are_cut_where_the_method_changes(model, names, shards):
    rng, methods = np.random.default_rng(1), {"L": mp.LoRA, "P": mp.PromptTuning, "X": mp.IA3}
    each = mp.Each([methods[name]().attach(model, rng) for name in names]).resolve()
    rows = np.arange(len(names))
    cut = each.regroup(np.array_split(rows, 3))
    assert np.sort(np.concatenate(cut)).tolist() == rows.tolist()
    assert ["".join(names[i] for i in shard) for shard in cut] == shards
    assert np.array_equal(each.regroup([rows]), [rows])


def test_rows_of_a_bank_in_a_mixture_come_in_any_order(model):
    rng = np.random.default_rng(1)
    bank = mp.Each([mp.PromptTuning(2).attach(model, rng) for _ in range(4)]).resolve()
    ids, rows = rng.integers(0, 31, (4, 9)), np.array([3, 0, 0, 2])
    z = model(ids[rows], bank.of(rows)).data
    np.testing.assert_allclose(z, model(ids, bank).data[rows], atol=1e-5)


def test_a_mixture_is_one_bank_for_each_method_in_training(model):
    rng = np.random.default_rng(1)
    each = mp.Each([mp.LoRA(2).attach(model, rng) for _ in range(6)])
    seen = []

    def loss(rows, adaptation, s):
        seen.append((rows.tolist(), [p.shape[0] for p in adaptation.parameters()]))
        return model.loss(ids[rows], ids[rows], adaptation)

    ids = rng.integers(0, 31, (6, 9))
    gradients(loss, each, np.array_split(np.arange(6), 2), Pool(1), {})
    users = [3] * (len(each.parameters()) // 6)
    assert sorted(seen) == [([0, 1, 2], users), ([3, 4, 5], users)]


def test_a_step_clips_the_gradient(model):
    adaptation = mp.FullFineTuning().attach(model)
    optimizer, ids = mp.AdamW(adaptation.parameters()), np.ones((2, 5), int)
    trainer = mp.Trainer(model, adaptation, optimizer, clip=1e-3)
    trainer.step(ids, ids)
    norm = sum(np.vdot(m, m) for m in optimizer.m) ** 0.5  # m = (1 - 0.9) g
    assert trainer.norm > 0.01 and norm == pytest.approx(0.1 * 1e-3, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_any_number_of_workers_gives_the_same_bits(model, method, monkeypatch):
    monkeypatch.setattr("minipeft.training.parallel.WORK", 1e4)
    monkeypatch.setattr("minipeft.training.parallel.TOKENS", 16)

    def run(workers):
        adaptation = method().attach(model, np.random.default_rng(1))
        trainer = mp.Trainer(
            model, adaptation, mp.AdamW(adaptation.parameters(), 1e-2), workers=workers
        )
        text = np.random.default_rng(2).integers(0, 31, 500)
        losses = trainer.fit(passages(text, 8, 12, np.random.default_rng(3)), 5, progress=False)
        return losses, [p.data for p in adaptation.parameters()]

    assert len(shard_rows((8, 12), sum(t.data.size for t in model.parameters()))) > 1
    (losses, one), (again, two) = run(1), run(2)
    assert losses == again and all(map(np.array_equal, one, two))
    assert len(set(losses)) == 5


def test_fit_lowers_the_loss_and_writes_what_it_did(model, tmp_path):
    adaptation = mp.FullFineTuning().attach(model)
    optimizer = mp.AdamW(adaptation.parameters(), 1e-2)
    trainer = mp.Trainer(model, adaptation, optimizer, schedule=mp.schedule("linear", 30, 3))
    ids = np.random.default_rng(2).integers(0, 31, (4, 10))
    batches = itertools.repeat((ids, ids, None))
    shown = []
    show = lambda t, loss: shown.append((t, loss))
    losses = trainer.fit(batches, 30, log=tmp_path / "metrics.jsonl", progress=show)
    assert shown == [*enumerate(losses, 1)]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == losses and losses[-1] < losses[0] / 2
    assert [line["lr"] for line in lines] == [trainer.lr(t) for t in range(30)]
    assert lines[0]["lr"] < lines[3]["lr"] > lines[-1]["lr"]
    assert [line["step"] for line in lines] == list(range(1, 31))


def dev(numbers, at):
    """A dev evaluation that gives these numbers, and notes what the parameters are then."""
    numbers = iter(numbers)

    def evaluate(trainer):
        at.append([p.data.copy() for p in trainer.adaptation.parameters()])
        return next(numbers)

    return evaluate


@pytest.mark.parametrize(
    "numbers, patience, stop, best",
    [
        ([3, 2, 4, 2, 9, 9], 2, 8, 1),  # one that is equal is not lower
        ([3, 4, 2, 4, 1], 2, 10, 4),
        ([3, 4, 5, 6, 7], 0, 10, 0),
        ([np.nan, 4, np.nan, -np.inf, 5], 3, 10, 1),
    ],
)
def test_early_stop_puts_the_best_back(model, tmp_path, numbers, patience, stop, best):
    adaptation = mp.LoRA(rank=2).attach(model, np.random.default_rng(1))
    trainer, at = mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters(), 1e-2)), []
    ids, evaluate, log = np.ones((2, 5), int), dev(numbers, at), tmp_path / "metrics.jsonl"
    options = {"evaluate": lambda: evaluate(trainer), "every": 2, "patience": patience}
    trainer.fit(itertools.repeat((ids, ids)), 10, log=log, progress=False, **options)
    assert trainer.t == stop and trainer.best.t == 2 * best + 2
    assert all(map(np.array_equal, at[best], [p.data for p in adaptation.parameters()]))
    assert not all(map(np.array_equal, at[best], at[best - 1]))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = [line["dev"] for line in lines if "dev" in line]
    np.testing.assert_array_equal(told, numbers[: stop // 2])
    trainer.fit(itertools.repeat((ids, ids)), 12, progress=False)  # without dev the last one stays
    assert not all(map(np.array_equal, at[best], [p.data for p in adaptation.parameters()]))


def test_the_optimizer_goes_back_with_the_parameters(model):
    """Moments and step count are those of the best step, so that a second fit starts from it."""
    adaptation = mp.LoRA(rank=2).attach(model, np.random.default_rng(1))
    optimizer, at = mp.AdamW(adaptation.parameters(), 1e-2), []
    trainer, values = mp.Trainer(model, adaptation, optimizer), iter([3, 2, 4])

    def evaluate():
        at.append([x.copy() for x in (*optimizer.m, *optimizer.v)] + [np.array(optimizer.t)])
        return next(values)

    ids = np.random.default_rng(2).integers(0, 31, (2, 5))
    trainer.fit(itertools.repeat((ids, ids)), 6, progress=False, evaluate=evaluate, every=2)
    state = [*optimizer.m, *optimizer.v, np.array(optimizer.t)]
    assert all(map(np.array_equal, at[1], state)) and optimizer.t == 4
    assert not all(map(np.array_equal, at[2], state))


def test_a_second_fit_looks_for_its_own_best(model):
    adaptation = mp.LoRA(rank=2).attach(model, np.random.default_rng(1))
    trainer = mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters(), 1e-2))
    ids, options = np.ones((2, 5), int), {"progress": False, "every": 1}
    trainer.fit(itertools.repeat((ids, ids)), 3, evaluate=iter([1, 2, 3]).__next__, **options)
    assert (trainer.best.value, trainer.best.t) == (1, 1)
    trainer.fit(itertools.repeat((ids, ids)), 6, evaluate=iter([9, 7, 8]).__next__, **options)
    assert (trainer.best.value, trainer.best.t) == (7, 5)


def test_what_stopped_early_is_resumed_to_its_end(model, tmp_path):
    ids = np.ones((2, 5), int)

    def run(evaluate):
        adaptation = mp.LoRA(rank=2).attach(model, np.random.default_rng(1))
        trainer = mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters(), 1e-2))
        if any(tmp_path.iterdir()):
            trainer.resume(tmp_path)
        options = {"evaluate": evaluate, "every": 1, "patience": 2, "folder": tmp_path}
        trainer.fit(itertools.repeat((ids, ids)), 9, progress=False, **options)
        return trainer.t, [p.data.tobytes() for p in adaptation.parameters()]

    assert run(iter([1, 2, 3]).__next__) == run(lambda: pytest.fail("it was at its end"))


@pytest.mark.parametrize(
    "wrong", [{"every": 0}, {"every": 11}, {"evaluate": None, "patience": 1}, {"save_every": 0}]
)
def test_a_fit_that_never_evaluates_or_saves_is_refused(model, wrong):
    adaptation = mp.LoRA(rank=2).attach(model, np.random.default_rng(1))
    trainer = mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters()))
    with pytest.raises(ValueError, match="every=.* must be from 1 to steps=10"):
        trainer.fit([], 10, **{"evaluate": lambda: 0.0, "every": 1} | wrong)


@pytest.mark.parametrize("method", METHODS)
def test_micro_batches_are_the_whole_batch(model, method):
    model, ids = model.astype(np.float64), np.random.default_rng(2).integers(0, 31, (7, 9))

    def run(**options):
        adaptation = method().attach(model, np.random.default_rng(1))
        adaptation = (
            adaptation
            if not adaptation.method.dropout
            else mp.LoRA(2).attach(model, np.random.default_rng(1))
        )
        trainer = mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters(), 1e-2), **options)
        return [trainer.step(ids, ids) for _ in range(3)], [p.data for p in adaptation.parameters()]

    (losses, whole), (again, sliced), (same, one) = (
        run(),
        run(micro_batches=9),
        run(micro_batches=9, workers=1),
    )
    np.testing.assert_allclose(again, losses, rtol=1e-12)
    for a, b in zip(sliced, whole):
        np.testing.assert_allclose(a, b, atol=1e-9)
    assert same == again and all(map(np.array_equal, one, sliced))


def test_micro_batches_take_the_memory_of_one(model):
    ids = np.random.default_rng(2).integers(0, 31, (32, 40))

    def peak(micro_batches):
        adaptation = mp.FullFineTuning().attach(model)
        optimizer = mp.AdamW(adaptation.parameters())
        trainer = mp.Trainer(model, adaptation, optimizer, workers=1, micro_batches=micro_batches)
        tracemalloc.start()
        trainer.step(ids, ids)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(16) < peak(1) / 4


def test_no_micro_batches_are_refused(model):
    adaptation = mp.LoRA(rank=2).attach(model, np.random.default_rng(1))
    with pytest.raises(ValueError, match="micro_batches=0 must be at least 1"):
        mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters()), micro_batches=0)


def test_an_optimizer_of_other_parameters_is_refused(model):
    adaptation = mp.LoRA(rank=2).attach(model, np.random.default_rng(1))
    optimizer = mp.AdamW(adaptation.parameters())
    with pytest.raises(ValueError, match="built from other parameters: create it from"):
        mp.Trainer(model, mp.LoRA(rank=2).attach(model, np.random.default_rng(1)), optimizer)
    with pytest.raises(ValueError, match="not attached to a model"):
        mp.Trainer(model, mp.LoRA(rank=2), optimizer)


@pytest.mark.parametrize("labels, mask", [(np.ones((2, 5), int), None), (None, [[1] * 4] * 3)])
def test_what_is_no_one_batch_is_refused(model, labels, mask):
    adaptation = mp.LoRA(rank=2).attach(model, np.random.default_rng(1))
    trainer, ids = (
        mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters())),
        np.ones((3, 5), int),
    )
    with pytest.raises(ValueError, match="ids, labels and mask differ in batch size"):
        trainer.step(ids, ids if labels is None else labels, mask=mask)


def test_an_update_is_a_step_on_any_loss(model):
    """For the loss of a language model it has the bits of `step`."""
    ids = np.arange(20).reshape(4, 5) % model.config.vocabulary
    ends = []
    for update in (False, True):
        full = mp.FullFineTuning().attach(model)
        trainer = mp.Trainer(model, full, mp.AdamW(full.parameters(), 1e-2), micro_batches=2)
        shards = [np.arange(2), np.arange(2, 4)]
        loss = lambda rows, γ, s: model.loss(ids[rows], ids[rows], γ, count=16)
        losses = [
            trainer.update(loss, shards) if update else trainer.step(ids, ids) for _ in range(2)
        ]
        assert trainer.t == trainer.optimizer.t == 2 and losses[1] < losses[0]
        ends.append((losses, [p.data.tobytes() for p in full.parameters()]))
    assert ends[0] == ends[1]
    before = [p.data.copy() for p in full.parameters()]
    with pytest.raises(NonFinite, match="step 2"):
        trainer.update(lambda rows, γ, s: loss(rows, γ, s) * np.inf, shards)
    assert trainer.t == 2
    assert all(np.array_equal(x, p.data) for x, p in zip(before, full.parameters()))


def test_a_step_that_is_not_finite_names_itself_and_changes_nothing(model):
    adaptation = mp.LoRA(rank=2).attach(model, np.random.default_rng(1))
    ids = np.ones((2, 5), int)
    trainer = mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters(), 1e-2))
    trainer.step(ids, ids)
    adaptation.at["blocks.1.attn.v"]["B"].data[0, 0] = np.nan
    before = [p.data.copy() for p in adaptation.parameters()]
    with pytest.raises(NonFinite, match=r"step 1: the loss is nan.*blocks\.\d\.attn"):
        trainer.step(ids, ids)
    for a, p in zip(before, adaptation.parameters()):
        np.testing.assert_array_equal(a, p.data)
