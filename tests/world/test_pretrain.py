"""Pretraining: pairs of texts, spans, weight decay, and that a base learns."""

from itertools import islice

import numpy as np
import pytest

import minipeft as mp
from minipeft.world import pretrain
from minipeft.world.corpus import documents
from minipeft.world.vocabulary import SENTINELS, for_encoder, train_tokenizer


@pytest.fixture(scope="module")
def texts():
    return list(islice(documents(np.random.default_rng(0)), 200))


@pytest.fixture(scope="module")
def tokenizer(texts):
    return for_encoder(train_tokenizer(texts, 400))


def test_masked_words_have_labels(tokenizer, texts):
    sentences, rng = pretrain.Sentences(texts, tokenizer), np.random.default_rng(0)
    ids, labels, _, _ = next(sentences.batches(rng, 3000))
    special = (ids == 0) | (ids >= sentences.words)
    labels[:, 0] = -100  # of the pairs
    assert (ids[labels >= 0] == sentences.mask).mean() > 0.7
    assert (labels[special & (ids != sentences.mask)] == -100).all()


def test_the_second_text_of_a_pair_follows_the_first_if_its_label_is_0(tokenizer, texts):
    sentences, rng = pretrain.Sentences(texts, tokenizer), np.random.default_rng(0)
    all_text, pairs = " ".join("<|endoftext|>".join(texts).split()), []
    for _ in range(100):
        ids, token_types, label = sentences.pair(96, rng)
        assert len(ids) == len(token_types) == 96 and ids[0] == sentences.cls
        first, second = (np.array(ids)[token_types == kind] for kind in (0, 1))
        assert first[-1] == sentences.sep and sentences.sep in second
        a, b = (tokenizer.decode([*x[x < sentences.words]], False).strip() for x in (first, second))
        follows = f"{a} {b}" in all_text or f"{a}{b}" in all_text
        assert follows or label
        pairs.append((label, follows))
    assert 30 < sum(label for label, _ in pairs) < 70
    assert sum(follows for label, follows in pairs if label) < 5


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_biases_and_gains_of_norms_do_not_decay(family, monkeypatch):
    class NoTrainer:
        def __init__(self, model, adaptation, optimizer, **options):
            decays = dict(zip(map(id, optimizer.parameters), optimizer.decays))
            self.decays = {path: decays[id(p)] for path, p in adaptation.named_parameters()}
            trainers.append(self)

        def fit(self, batches, steps, progress):
            pass

    trainers = []
    monkeypatch.setattr(pretrain, "Trainer", NoTrainer)
    model = mp.load("encoder") if family == "bert" else mp.load()
    pretrain.train(model, [], steps=4, seed=0)
    tensors, decays = dict(model.named_parameters()), trainers[0].decays
    assert decays == {path: 0.01 if t.ndim == 2 else 0 for path, t in tensors.items()}
    assert {*decays.values()} == {0.01, 0}


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
def test_a_base_learns_and_is_loaded(family, tmp_path, monkeypatch):
    small = {"HELD_OUT": 4, "BATCH_TOKENS": 768, "BATCH_DOCUMENTS": 8, "LAYERS": 2}
    for name, value in (small | {"SIZES": {"tiny": (16, 2)}}).items():
        monkeypatch.setattr(pretrain, name, value)
    after_1, after_100 = (
        pretrain.pretrain(tmp_path / f"{steps}", family, steps, size="tiny", documents=400)
        for steps in (1, 100)
    )
    assert np.ravel(after_100)[0] < np.ravel(after_1)[0] - 0.3
    model, tokenizer = mp.load(tmp_path / "100"), mp.load_tokenizer(tmp_path / "100")
    assert model.config.vocabulary == tokenizer.get_vocab_size()


@pytest.mark.parametrize("name", pretrain.SIZES)
def test_a_size_is_named_by_its_parameters(name):
    architecture = pretrain.architecture("gpt2", name)
    model = mp.Decoder(mp.Config(pretrain.VOCABULARY, **architecture), np.random.default_rng(0))
    millions = sum(p.data.size for p in model.parameters()) / 1e6
    assert millions == pytest.approx(float(name.removesuffix("M")), rel=0.25)


def test_an_unknown_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="size='7B' must be one of 0.1M, 0.3M, 1.1M, 3M"):
        pretrain.pretrain(tmp_path, size="7B")


def restored(read, written, sentinels):
    """Return the text of which the spans after the sentinels in `written` were removed."""
    spans, text = {}, []
    for token in written:
        if token in sentinels:
            span = spans[token] = []
        else:
            span.append(token)
    for token in read:
        text += spans[token] if token in sentinels else [token]
    return text


def test_scaled_attention_becomes_that_of_t5():
    sizes = {"width": 16, "layers": 2, "decoder_layers": 1, "heads": 2, "length": 32}
    config, rng = mp.T5Config(50, **sizes, decoder_start=3), np.random.default_rng(0)
    model = pretrain.new_t5(config, rng).map(
        lambda t: mp.Tensor(t.data + rng.normal(0, 0.3, t.shape))
    )
    t5, ids = pretrain.as_t5(model, config), rng.integers(0, 50, (2, 9))
    assert model.config != t5.config == config and t5.encoder.tokens.W is t5.decoder.tokens.W
    got, want = (m(ids, decoder_ids=ids[:, :5]).data for m in (t5, model))
    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("objective", ["spans", "prefix"])
def test_an_encoder_decoder_restores_documents(texts, monkeypatch, objective):
    size, batches = {"width": 8, "layers": 1, "heads": 2, "decoder_layers": 1, "length": 64}, []
    monkeypatch.setattr(pretrain, "HELD_OUT", 10)
    monkeypatch.setattr(
        pretrain, "train", lambda model, rows, **fit: batches.extend(islice(rows, 2)) or model
    )
    tokenizer, rng = train_tokenizer(texts, 400), np.random.default_rng(0)
    _, tokenizer, _ = pretrain.pretrain_t5(texts, tokenizer, rng, {}, [objective], size)
    known = {tuple(row.ids) for row in tokenizer.encode_batch(texts)}  # each ends with END
    sentinels = {*map(tokenizer.token_to_id, SENTINELS)}
    for ids, labels, mask in batches:
        for read, written, real in zip(ids, labels, mask):
            *read, end = read[real].tolist()
            *written, last = written[written >= 0].tolist()
            assert end == last == 0 and bool(sentinels & {*read}) == (objective == "spans")
            text = read + written
            if objective == "spans":
                text = restored(read, written, sentinels)
            assert (*text, end) in known


def test_an_unknown_family_is_refused(tmp_path):
    with pytest.raises(ValueError, match="family='t6' must be one of gpt2, bert, t5"):
        pretrain.pretrain(tmp_path / "t6", family="t6")


def test_an_objective_of_another_family_is_refused(tmp_path):
    message = "the objective masked is not for the family t5, which has spans and prefix"
    with pytest.raises(ValueError, match=message):
        pretrain.pretrain(tmp_path / "t5", family="t5", objectives=["spans", "masked"])
