"""The tokenizers of the built-in bases."""

import json
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from minipeft.world.corpus import documents
from minipeft.world.vocabulary import for_encoder, for_seq2seq, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(islice(documents(np.random.default_rng(0)), 3000), 1024)


@given(st.text())
def test_decoding_gives_any_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_end_of_text_is_token_0_and_is_not_added(tokenizer):
    assert tokenizer.encode("<|endoftext|>").ids == [0]
    assert 0 not in tokenizer.encode("A thin plot.").ids and tokenizer.encode("").ids == []
    assert tokenizer.get_vocab_size() == 1024


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert json.loads(loaded.to_str()) == json.loads(tokenizer.to_str())


def test_transformers_reads_the_tokenizer(tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    theirs = transformers.GPT2TokenizerFast.from_pretrained(tmp_path)
    text = "The plot's thin , but it  moved me.<|endoftext|>\nÉté 日本"
    assert theirs(text)["input_ids"] == tokenizer.encode(text).ids
    assert theirs.decode(theirs(text)["input_ids"], clean_up_tokenization_spaces=False) == text


def test_the_tokenizer_of_an_encoder_frames_texts_and_pairs(tokenizer):
    tokenizer = for_encoder(tokenizer)
    one, two = tokenizer.encode("A plot."), tokenizer.encode("A plot.", "It was thin.")
    assert one.tokens[0] == "[CLS]" and one.tokens[-1] == "[SEP]" and set(one.type_ids) == {0}
    middle = two.tokens.index("[SEP]")
    assert two.ids[: middle + 1] == one.ids and two.tokens[-1] == "[SEP]"
    assert two.type_ids == [0] * (middle + 1) + [1] * (len(two.ids) - middle - 1)
    special = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    assert [tokenizer.id_to_token(tokenizer.get_vocab_size() - 4 + i) for i in range(4)] == special


def test_the_tokenizer_of_an_encoder_decoder_ends_texts_and_has_sentinels(tokenizer):
    own = for_seq2seq(tokenizer)
    assert own.encode("A plot.").ids == [*tokenizer.encode("A plot.").ids, 0]
    assert own.encode("A plot.", "It was thin.").ids.count(0) == 2
    V = tokenizer.get_vocab_size()
    new = [own.id_to_token(i) for i in range(V, own.get_vocab_size())]
    assert new == ["[PAD]", *(f"<extra_id_{i}>" for i in range(32))]
    assert own.encode("<extra_id_1> plot").ids[0] == V + 2
