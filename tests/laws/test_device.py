"""On a device as on the host: the same bits, nothing read unasked, and at a cost that is known."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.backend import host
from minipeft.methods import METHODS, method
from minipeft.model.heads import Head
from tests.support import device
from tests.support.device import counted, ndarray, up
from tests.support.families import ATTENTIVE, GPT2, C, attached, batch, decoder
from tests.support.operations import law

every_method = pytest.mark.parametrize("name", METHODS)


def alike(xs, ys):
    """The same floats, and the same bits?"""
    pairs = [(host(x), host(y)) for x, y in zip(xs, ys, strict=True)]
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in pairs)


# -- operations -----------------------------------------------------------------

BROUGHT = {"masked", "c", "s"}  # options that are brought once a forward, by who asks for them


@law
def test_an_operation_is_the_same_and_waits_for_nothing(row, example):
    def slopes(put):
        """The value, and the gradient of its sum for every argument."""
        leaves = [mp.Tensor(put(x), requires_grad=True) for x in example.xs]
        options = example.options()
        options |= {name: put(options[name]) for name in BROUGHT & set(options)}
        y = row.op(*leaves, **options)
        return [y.data, *mp.grad(y, leaves, [np.ones_like(y.data)])]

    here = slopes(lambda x: x)
    with counted() as cost:
        there = slopes(up)
    assert cost["waits"] == 0 and all(type(y) is ndarray for y in there)
    assert alike(here, there)


# -- training and writing ---------------------------------------------------------


def step(trainer, batch):
    ids, labels, mask = batch
    return trainer.step(ids, labels, mask=mask)


def trained(device, name, steps=3):
    """Losses and parameters of a method trained on one batch, under a head of its own."""
    model = mp.Classifier(decoder(GPT2).to(device), C)
    adaptation = headed(name, **{"dropout": 0.3} if name == "lora" else {}).attach(model, rng0())
    trainer = mp.Trainer(
        model, adaptation, mp.AdamW(adaptation.parameters(), 0.01, weight_decay=0.1)
    )
    losses = [step(trainer, batch(model, 5)) for _ in range(steps)]
    return losses, [p.data for p in adaptation.parameters()]


def classifier():
    return mp.Classifier(decoder(GPT2), C)


def headed(name, **fields):
    alone = method(name, **fields)
    return alone if name in ("probe", "full") else mp.Chain(alone, mp.Probe())


def rng0():
    return np.random.default_rng(0)


@every_method
def test_training_is_the_same(name):
    (losses, here), (again, there) = trained("cpu", name), trained("fake", name)
    assert losses == again and losses[-1] < losses[0] and alike(here, there)


def test_what_is_not_finite_is_named():
    model = decoder(GPT2).to("fake")
    lora = mp.LoRA(2).attach(model, rng0())
    lora.at["blocks.1.attn.q"]["A"].data += np.nan
    trainer = mp.Trainer(model, lora, mp.AdamW(lora.parameters()))
    with pytest.raises(ArithmeticError, match=r"the loss is nan.*blocks\.0\.attn\.q"):
        step(trainer, batch(model, 2))


@pytest.mark.parametrize("how", [{}, {"temperature": 2.0, "top_k": 5}])
def test_writing_is_the_same_and_waits_once_a_token(how):
    model = decoder(mp.Config(13, 8, 2, 2, 32, positions="rotary"))
    prefix = mp.PrefixTuning(3).attach(model, rng0())
    ids, _, mask = batch(model, 5)
    here = mp.generate(model, ids, prefix, mask=mask, max_new_tokens=6, rng=rng0(), **how)
    with counted() as cost:
        far = model.to("fake"), ids, prefix.to("fake")
        there = mp.generate(*far, mask=mask, max_new_tokens=6, rng=rng0(), **how)
    assert np.array_equal(here, there) and cost["waits"] == 6


def test_a_probe_of_features_is_the_same():
    """They are kept on the host, and brought to the head with each batch."""
    model, (ids, labels, mask) = classifier(), batch(classifier(), 5)
    probe = mp.Probe().attach(model)
    x = model.features(ids, mask=mask)[0].data

    def slopes(device):
        head, there = Head(model.score, model.config).to(device), probe.to(device)
        loss = head.loss(x, labels, there)
        return [loss.data, *mp.grad(loss, there.parameters())]

    assert alike(slopes("cpu"), slopes("fake")) and type(slopes("fake")[0]) is ndarray


def test_a_head_that_pools_by_attention_is_the_same():
    ids, labels, mask = batch(ATTENTIVE, 5)

    def slopes(where):
        γ = attached("lora", ATTENTIVE).to(where)
        loss = ATTENTIVE.to(where).loss(ids, labels, γ, mask=mask)
        return [loss.data, *mp.grad(loss, γ.parameters())]

    assert alike(slopes("cpu"), slopes("fake")) and type(slopes("fake")[0]) is ndarray


# -- what it costs ------------------------------------------------------------------

LAUNCHES = {  # calls that compute in one step: of any network, and more for each layer
    "probe": (56, 54),
    "prompt": (31, 212),
    "pseudo": (81, 102),
    "ptuning": (2198, 102),  # an LSTM of two layers reads ten rows, both ways
    "multitask": (63, 212),
    "deep": (39, 148),
    "prefix": (39, 134),
    "ptuning2": (39, 138),
    "adapter": (27, 268),
    "parallel": (27, 180),
    "multihead": (27, 145),
    "lora": (36, 174),
    "dora": (36, 256),
    "ia3": (37, 156),
    "bitfit": (62, 230),
    "random": (66, 250),
    "norms": (77, 164),
    "full": (125, 338),
}
UPLOADS = {  # likewise; where none are told, (6, 0)
    "probe": (7, 0),
    "prompt": (9, 0),
    "pseudo": (7, 0),
    "ptuning": (7, 0),
    "multitask": (9, 0),
    "ptuning2": (6, 2),  # what dropout keeps
    "random": (8, 16),  # the places
}


def cost(name, layers, B):
    """Of a step of training: forward, backward, and AdamW without clipping."""
    model = decoder(mp.Config(13, 8, layers, 2, 32))
    model = (mp.Classifier(model, C) if name == "probe" else model).to("fake")
    adaptation = method(name).attach(model, rng0())
    trainer = mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters()), clip=np.inf)
    with counted() as found:
        step(trainer, batch(model, B))
    return found


@every_method
def test_what_a_step_costs(name, monkeypatch):
    """As many launches whatever the batch, and one wait: for the loss and the norm together.

    The numbers are to be lowered, or raised with a reason.  Uploads are ids, positions, mask,
    targets and the rows asked for; a prompt, which is read before the text, has its own, and so
    have places in an array.
    """
    monkeypatch.setattr("minipeft.training.parallel.TOKENS", 1)
    monkeypatch.setattr(
        "minipeft.training.parallel.WORK", 1
    )  # the host would cut this batch into shards
    (once, layer), (brought, more) = LAUNCHES[name], UPLOADS.get(name, (6, 0))
    for layers, B in ((1, 5), (2, 5), (3, 5), (2, 10)):
        found = cost(name, layers, B)
        assert found["launches"] == once + layer * layers
        assert found["waits"] == 1
        assert found["uploads"] == brought + more * layers


# -- going there, and what is refused there --------------------------------------------


def test_there_and_back_are_the_same_numbers_and_none_shared():
    model = decoder(GPT2)
    lora = mp.LoRA(2).attach(model, rng0())
    for thing in (model, lora):
        there = thing.to("fake")
        for other in (there, there.to("cpu"), thing.to("cpu")):
            here, copies = ([t.data for t in x.parameters()] for x in (thing, other))
            assert alike(here, copies)
            assert not any(np.shares_memory(x, getattr(y, "own", y)) for x, y in zip(here, copies))
    assert there.parameters()[0].requires_grad and type(there.parameters()[0].data) is ndarray


def test_what_is_saved_is_the_same(tmp_path):
    model = decoder(GPT2)
    lora = mp.LoRA(2).attach(model, rng0())
    mp.save(model.to("fake"), tmp_path / "model")
    mp.save(lora.to("fake"), tmp_path / "lora")
    again = mp.load(tmp_path / "model")
    pairs = (model, again), (lora, mp.load_adaptation(tmp_path / "lora", again))
    assert all(alike(*[[t.data for t in x.parameters()] for x in pair]) for pair in pairs)


def test_a_device_that_is_not_there_is_one_clear_error(monkeypatch):
    model = decoder(GPT2)
    with pytest.raises(ValueError, match="device='gpu' must be one of cpu, cuda"):
        model.to("gpu")
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match=r'needs CuPy: pip install "minipeft\[gpu\]"'):
        model.to("cuda")

    def count():
        raise RuntimeError("no driver")

    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=count)))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(RuntimeError, match="finds no GPU.*no driver"):
        model.to("cuda")


@every_method
def test_an_adaptation_that_is_elsewhere_is_told_to_come(name):
    model = classifier()
    adaptation, (ids, _, mask) = headed(name).attach(model, rng0()), batch(model, 2)
    with pytest.raises(ValueError, match=r"is on 'cpu' and the model on 'cuda': use .to\('cuda'\)"):
        model.to("fake")(ids, adaptation, mask=mask)
    with pytest.raises(ValueError, match=r"is on 'cuda' and the model on 'cpu': use .to\('cpu'\)"):
        model(ids, adaptation.to("fake"), mask=mask)


HERE = np.arange(3)
REFUSED = {
    "an array of the host": lambda x: x + HERE,
    "an array of the host in front": lambda x: HERE * x,
    "an array of the host to join": lambda x: np.concatenate([x, HERE]),
    "an array of the host to keep": lambda x: x.__setitem__(0, HERE[:1]),
    "being read unasked": lambda x: np.asarray(x),
    "an index out of range": lambda x: x[[0, 3]],
    "a place to add to out of range": lambda x: np.add.at(x, up(HERE + 1), 1.0),
    "two values for one place": lambda x: x.__setitem__([1, 1], 0.0),
    "a function that is not on the list": lambda x: np.median(x),
    "a ufunc that is not on the list": lambda x: np.spacing(x),
    "a method of a ufunc": lambda x: np.maximum.reduce(x),
    "a method that is not on the list": lambda x: x.tobytes(),
    "an option": lambda x: x.max(initial=0),
    "a sum over no axis": lambda x: x.sum(()),
    "a flag": lambda x: x.flags,
}


@pytest.mark.parametrize("slip", REFUSED.values(), ids=REFUSED)
def test_the_device_refuses(slip):
    words = "of the host|unasked|out of bounds|not defined|not known"
    with pytest.raises((TypeError, IndexError, AttributeError), match=words):
        slip(up(np.arange(3.0)))


@pytest.mark.parametrize(
    "does, costs",
    [
        (lambda x: x[1:].T.reshape(1, 2), {}),
        (lambda x: np.exp(x) * 2.0, {"launches": 2}),
        (lambda x: np.asarray(HERE, like=x), {"uploads": 1}),
        (lambda x: x[HERE], {"launches": 1, "uploads": 1}),
        (lambda x: x[x > 0], {"launches": 2, "waits": 1}),
        (lambda x: float(x[0]) if x.sum() > 0 else 0, {"launches": 2, "waits": 2}),
    ],
)
def test_the_device_counts(does, costs):
    with counted() as found:
        does(up(np.arange(3.0)))
    assert found == costs


def test_cupy_has_what_the_device_has():
    cupy = pytest.importorskip("cupy")
    assert all(hasattr(cupy, f.__name__) for f in device.FUNCTIONS | device.UFUNCS)
    own = {name for name in vars(ndarray) if not name.startswith("_")}
    assert all(hasattr(cupy.ndarray, name) for name in own | set(device.METHODS))
    assert hasattr(cupy.add, "at")
