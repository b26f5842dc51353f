"""The built-in base model: its size, its loss, and that transformers reads it."""

from itertools import islice

import numpy as np
import pytest

import minipeft as mp
from minipeft.hf.pretrained import BASE
from minipeft.world.corpus import documents


def test_the_base_is_small_and_knows_its_world():
    assert sum(path.stat().st_size for path in BASE.iterdir()) <= 4_000_000
    model, tokenizer = mp.load(), mp.load_tokenizer()
    assert 0.8e6 < sum(t.data.size for t in model.parameters()) < 1.2e6
    assert model.dtype == np.float32 and tokenizer.get_vocab_size() == model.config.vocabulary

    def loss(texts):
        ids = [tokenizer.encode(text).ids for text in texts]
        return np.mean([float(model.loss([row], [row])) for row in ids])

    rng = np.random.default_rng(999)
    texts = list(islice(documents(rng), 30))
    shuffled = [" ".join(rng.permutation(text.split())) for text in texts]
    assert loss(texts) < 1.2 and loss(shuffled) > 4


def test_transformers_reads_the_base():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    text = "Tamsin saw The Velvet Comet. Zwölf 🍎!"
    ids = tokenizer(text)["input_ids"]
    assert ids == mp.load_tokenizer().encode(text).ids
    with torch.no_grad():
        want = theirs(torch.tensor([ids])).logits.numpy()
    np.testing.assert_allclose(mp.load()(np.array([ids])).data, want, atol=1e-4)
