"""A base is as before, to the bit, after all that is done with an adaptation of it."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.tasks.classify import Classify
from minipeft.tasks.forgetting import forgetting, general_text
from minipeft.world.vocabulary import for_encoder, train_tokenizer
from tests.support.families import nudged

V = 300
TOKENIZER = train_tokenizer(["good bad soup tea at noon and at night"], V - 20)
SIZE = {"width": 16, "layers": 2, "heads": 2, "length": 72}
RNG = np.random.default_rng(0)
BASES = {
    "decoder": (nudged(mp.Decoder(mp.Config(V, **SIZE), RNG)), TOKENIZER),
    "encoder": (nudged(mp.MaskedLM(mp.BertConfig(V, **SIZE), RNG)), for_encoder(TOKENIZER)),
}
PAIRS = [(f"{word} soup {i}", word) for i in range(6) for word in ("good", "bad")]


def bits(model, ids):
    """Return the bytes of all arrays of a model, and of what it computes without adaptation."""
    return [t.data.tobytes() for t in model.parameters()], model(ids).data.tobytes()


@pytest.mark.parametrize("base, tokenizer", BASES.values(), ids=BASES)
@pytest.mark.parametrize("name", mp.METHODS)
def test_the_base_is_restored_to_the_bit(base, tokenizer, name):
    """After training, evaluation, the measure of forgetting, merging, and letting it go."""
    task = Classify("soup", {s: PAIRS for s in ("train", "dev", "test")}, base, tokenizer)
    ids, networks = task.collate(task.examples["test"])[0], (base, task.network)
    before = [bits(network, ids) for network in networks]
    γ = task.attach(mp.METHODS[name](), np.random.default_rng(0))
    model, batches = task.model_and_batches(γ, 4, np.random.default_rng(0))
    trainer = mp.Trainer(model, γ, mp.AdamW(γ.parameters(), lr=0.1))
    trainer.fit((batch[:3] for batch in batches), 2, progress=False)
    assert any((p.data != q.data).any() for p, q in zip(γ.parameters(), fresh(task, name)))
    task.evaluate(γ, "test")
    forgetting(task, γ, general_text(base, tokenizer))
    assert [bits(network, ids) for network in networks] == before  # while it is attached
    merged = merge(task.network, γ)
    arrays = [t.data for network in networks for t in network.parameters()]
    assert not any(np.shares_memory(t.data, x) for t in merged.parameters() for x in arrays)
    del trainer, γ, merged
    assert [bits(network, ids) for network in networks] == before


def fresh(task, name):
    """Return the parameters of a method before training."""
    return task.attach(mp.METHODS[name](), np.random.default_rng(0)).parameters()


def merge(network, γ):
    """Return the merged network or, for a method that changes no weights, a copy."""
    try:
        return mp.merge(network, γ)
    except ValueError:
        return mp.merge(network, None)


def test_one_changed_number_is_noticed():
    base, _ = BASES["decoder"]
    other = base.map(lambda t: mp.Tensor(t.data.copy()))
    assert bits(other, [[1]]) == bits(base, [[1]])
    other.blocks[1].mlp.down.b = mp.Tensor(np.nextafter(base.blocks[1].mlp.down.b.data, 9))
    assert bits(other, [[1]]) != bits(base, [[1]])
