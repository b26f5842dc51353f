"""`train` and `evaluate` on folders of RoBERTa and DistilBERT, with tokenizers of their kinds."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, WordPieceTrainer

import minipeft as mp
from tests.support.families import nudged

WORDS = ["warm fine kind cold dull rude", "0 1 2 3 4 5 6 7 8 9"]
SIZES = {"width": 16, "layers": 2, "heads": 2, "length": 24}


def byte_pairs():
    """Return a tokenizer as RoBERTa's: BPE of bytes, and <s> text </s>, of one token type."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=280, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(WORDS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def word_pieces():
    """Return a tokenizer as DistilBERT's: [CLS] text [SEP] text [SEP], of two token types."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = WordPieceTrainer(vocab_size=80, special_tokens=special)
    tokenizer.train_from_iterator(WORDS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


KINDS = {
    "roberta": (mp.RobertaConfig, byte_pairs),
    "distilbert": (mp.DistilBertConfig, word_pieces),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def folder(kind, tmp_path):
    make, tokenizer = KINDS[kind]
    tokenizer = tokenizer()
    config = make(tokenizer.get_vocab_size(), **SIZES)
    mp.save(nudged(mp.MaskedLM(config, np.random.default_rng(0))), tmp_path / "m", tokenizer)
    return tmp_path / "m"


@every_kind
@pytest.mark.parametrize("pool", ["first", "cls"])
def test_a_head_is_trained_and_evaluated(folder, pool, tmp_path, examples, json_of):
    args = ["--model", folder, "--data", examples, "--test", examples]
    more = ["--out", tmp_path / "a", "--pool", pool, "--steps", 40, "--lr", 0.01]
    report = json_of("train", "lora", *args, *more)
    assert report["pool"] == pool and report["test_accuracy"] > 0.9
    tensors = load_file(tmp_path / "a/adapter_model.safetensors")
    new = [n for n in tensors if "classifier.dense" in n or "pre_classifier" in n]
    assert len(new) == 2 * (pool == "cls")  # PEFT trains the layer of a head, too
    args = ["--model", folder, "--adaptation", tmp_path / "a", "--data", examples]
    (result,) = json_of("evaluate", *args)["results"]
    assert result["accuracy"] == report["test_accuracy"]


@every_kind
def test_pairs_of_texts_have_no_types(folder, tmp_path, json_of):
    rows = [{"a": f"warm {i}", "b": "kind" if i % 2 else "rude", "label": i % 2} for i in range(40)]
    data = tmp_path / "pairs.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    args = ["--text-column", "a", "b", "--data", data, "--test", data]
    report = json_of("train", "probe", "--model", folder, *args, "--out", tmp_path / "a")
    assert report["test_accuracy"] > 0.9
