"""How the bases come to be: what is hidden, what is a pair, and that it is learnt from."""

from itertools import islice

import numpy as np
import pytest

from minipeft import load, load_tokenizer
from minipeft.world import pretrain
from minipeft.world.corpus import documents
from minipeft.world.vocabulary import for_encoder, train_tokenizer


@pytest.fixture(scope="module")
def texts():
    return list(islice(documents(np.random.default_rng(0)), 200))


@pytest.fixture(scope="module")
def tokenizer(texts):
    return for_encoder(train_tokenizer(texts, 400))


def test_an_encoder_s_tokenizer_frames_texts_and_pairs(tokenizer):
    one, two = tokenizer.encode("A plot."), tokenizer.encode("A plot.", "It was thin.")
    assert one.tokens[0] == "[CLS]" and one.tokens[-1] == "[SEP]" and set(one.type_ids) == {0}
    middle = two.tokens.index("[SEP]")
    assert two.ids[: middle + 1] == one.ids and two.tokens[-1] == "[SEP]"
    assert two.type_ids == [0] * (middle + 1) + [1] * (len(two.ids) - middle - 1)
    added = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    assert [tokenizer.id_to_token(tokenizer.get_vocab_size() - 4 + i) for i in range(4)] == added


def test_what_is_hidden(tokenizer, texts):
    """Devlin et al. 2019, §3.1: 15 % of the words, 80 / 10 / 10, and all can be told again."""
    sentences, rng = pretrain.Sentences(texts, tokenizer), np.random.default_rng(0)
    ids = np.tile(sentences.ids[:5000], (10, 1))
    ids[:, 0], words = sentences.cls, (ids > 0) & (ids < sentences.words)
    words[:, 0] = False
    seen, labels = sentences.hide(ids, rng)
    told = labels >= 0
    assert np.array_equal(np.where(told, labels, seen), ids) and not told[~words].any()
    assert abs(told[words].mean() - 0.15) < 0.01
    share = lambda is_so: (is_so & told).sum() / told.sum()
    assert abs(share(seen == sentences.mask) - 0.8) < 0.02
    assert abs(share((seen != ids) & (seen != sentences.mask)) - 0.1) < 0.02


def test_a_pair_is_two_texts_of_which_one_follows_the_other_or_not(tokenizer, texts):
    sentences, rng = pretrain.Sentences(texts, tokenizer), np.random.default_rng(0)
    whole, others = " ".join("<|endoftext|>".join(texts).split()), []
    for _ in range(100):
        ids, token_types, other = sentences.pair(96, rng)
        assert len(ids) == len(token_types) == 96 and ids[0] == sentences.cls
        one, two = (np.array(ids)[token_types == kind] for kind in (0, 1))
        assert one[-1] == sentences.sep and sentences.sep in two
        a, b = (tokenizer.decode([*x[x < sentences.words]], False).strip() for x in (one, two))
        together = f"{a} {b}" in whole or f"{a}{b}" in whole
        assert together or other
        others.append((other, together))
    assert 30 < sum(other for other, _ in others) < 70
    assert sum(together for other, together in others if other) < 5


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_a_base_is_pretrained_and_comes_back(family, tmp_path, monkeypatch):
    small = {"width": 16, "layers": 1, "heads": 2, "length": 256}
    for name, value in {"DOCUMENTS": 400, "HELD": 100, "TOKENS": 768, "SIZE": small}.items():
        monkeypatch.setattr(pretrain, name, value)
    untrained, trained = (
        pretrain.pretrain(tmp_path / f"{steps}", family, steps) for steps in (1, 100)
    )
    assert np.ravel(trained)[0] < np.ravel(untrained)[0] - 0.3
    model, tokenizer = load(tmp_path / "100"), load_tokenizer(tmp_path / "100")
    assert model.config.vocabulary == tokenizer.get_vocab_size()
    with pytest.raises(ValueError, match="family='t5': there is gpt2, bert"):
        pretrain.pretrain(tmp_path / "t5", family="t5")
