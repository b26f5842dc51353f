"""The built-in base models: their size, their loss, and that transformers reads them."""

from itertools import islice

import numpy as np
import pytest

import minipeft as mp
from minipeft.data.objectives import corrupt_spans
from minipeft.hf.pretrained import BASE, BUILT_IN
from minipeft.world.corpus import documents
from minipeft.world.vocabulary import SENTINELS


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


def test_the_encoder_decoder_restores_spans_and_continues_texts():
    folder = BUILT_IN["seq2seq"]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3_000_000
    model, tokenizer = mp.load("seq2seq"), mp.load_tokenizer("seq2seq")
    assert 0.8e6 < sum(t.data.size for t in model.parameters()) < 1.2e6
    assert model.dtype == np.float32 and tokenizer.get_vocab_size() == model.config.vocabulary
    rng, sentinels = np.random.default_rng(999), [*map(tokenizer.token_to_id, SENTINELS)]

    def losses(texts):
        rows = [tokenizer.encode(text).ids for text in texts]
        spans = [corrupt_spans(row[:-1], sentinels, rng) for row in rows]
        spans = [
            float(model.loss([[*x, row[-1]]], [[*y, row[-1]]])) for (x, y), row in zip(spans, rows)
        ]
        halves = [(row[: len(row) // 2], row[len(row) // 2 :]) for row in rows]
        return np.mean(spans), np.mean([float(model.loss([[*x, 0]], [y])) for x, y in halves])

    texts = list(islice(documents(rng), 30))
    shuffled = [" ".join(rng.permutation(text.split())) for text in texts]
    assert max(losses(texts)) < 1.8 and min(losses(shuffled)) > 3


def test_transformers_reads_the_encoder_decoder():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = BUILT_IN["seq2seq"]
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = "Tamsin saw<extra_id_0> on Friday. Zwölf 🍎!"
    ids = tokenizer(text)["input_ids"]
    assert ids == mp.load_tokenizer("seq2seq").encode(text).ids
    labels = mp.load_tokenizer("seq2seq").encode("<extra_id_0> The Velvet Comet<extra_id_1>").ids
    with torch.no_grad():
        want = theirs(input_ids=torch.tensor([ids]), labels=torch.tensor([labels]))
        written = theirs.generate(torch.tensor([ids]), max_new_tokens=9, do_sample=False)
    model = mp.load("seq2seq")
    read = model.shift_right(np.array([labels]))
    got = model(np.array([ids]), decoder_ids=read).data
    np.testing.assert_allclose(got, want.logits.numpy(), atol=1e-4)
    assert float(model.loss([ids], [labels])) == pytest.approx(float(want.loss), abs=1e-5)
    new = mp.generate(model, [ids], max_new_tokens=9)[0].tolist()
    assert written[0, 1:].tolist() == new
