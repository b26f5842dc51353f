"""Tokenizers in folders: what other programs left in tokenizer.json, and ids beyond the model."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.processors import TemplateProcessing

from minipeft import load, load_tokenizer, save
from minipeft.hf import CheckpointError
from tests.support.families import V
from tests.support.folder_edits import set_fields
from tests.support.folders import GPT2
from tests.support.tokenizers import letters

TEXT = "b c d e f g h b c d"
LEFT_BEHIND = {
    "truncation": lambda t: t.enable_truncation(4),
    "truncation on the left": lambda t: t.enable_truncation(4, direction="left"),
    "truncation with a stride": lambda t: t.enable_truncation(4, stride=2),
    "padding to a length": lambda t: t.enable_padding(length=20, pad_id=3),
    "padding on the left": lambda t: t.enable_padding(length=20, direction="left"),
    "padding to the longest": lambda t: t.enable_padding(),
    "padding to a multiple": lambda t: t.enable_padding(pad_to_multiple_of=8),
    "both": lambda t: (t.enable_truncation(4), t.enable_padding(length=20)),
}


@pytest.fixture
def folder(tmp_path):
    save(GPT2, tmp_path / "m", letters())
    return tmp_path / "m"


@pytest.mark.parametrize("case", LEFT_BEHIND)
def test_truncation_and_padding_in_the_file_are_reset(tmp_path, folder, case):
    plain, left = letters(), letters()
    LEFT_BEHIND[case](left)
    left.save(str(folder / "tokenizer.json"))
    assert json.loads((folder / "tokenizer.json").read_text()) != json.loads(plain.to_str())
    loaded = load_tokenizer(folder)
    assert loaded.to_str() == plain.to_str()
    assert [e.ids for e in loaded.encode_batch([TEXT, "b"])] == [[0, *range(1, 8), 1, 2, 3], [0, 1]]
    for name, tokenizer in ("loaded", loaded), ("own", left):  # nor are they written
        before = tokenizer.to_str()
        save(GPT2, tmp_path / name, tokenizer)
        assert (
            Tokenizer.from_file(str(tmp_path / name / "tokenizer.json")).to_str() == plain.to_str()
        )
        assert tokenizer.to_str() == before


def test_the_dropout_of_bpe_is_off(folder):
    tokenizer = Tokenizer(BPE({"b": 0, "c": 1, "bc": 2}, [("b", "c")], dropout=0.5))
    tokenizer.save(str(folder / "tokenizer.json"))
    loaded = load_tokenizer(folder)
    assert all(loaded.encode("bc").ids == [2] for _ in range(40))
    assert '"dropout":null' in loaded.to_str()


# -- ids that the model does not have


def test_a_token_that_the_model_lacks_is_named(folder):
    grown = letters()
    grown.add_special_tokens(["<pad>"])
    grown.add_tokens([AddedToken("zebra")])
    holes = Tokenizer(WordLevel({"b": 1, "far": 40}, unk_token="b"))  # two tokens, of the ids 1, 40
    begin = letters()
    begin.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", V)])
    for tokenizer, token, i in ((grown, "zebra", V + 1), (holes, "far", 40), (begin, "<s>", V)):
        tokenizer.save(str(folder / "tokenizer.json"))
        message = (
            rf"tokenizer.json: the token '{token}' has the id {i}, and the model has the ids 0"
        )
        with pytest.raises(CheckpointError, match=f"{message} to {V - 1}"):
            load_tokenizer(folder)
    (folder / "config.json").unlink()  # as in the folder of an adaptation
    assert load_tokenizer(folder).get_vocab_size() == V


def test_a_model_may_have_more_rows_than_tokens(folder):
    letters(V - 4).save(str(folder / "tokenizer.json"))
    ids = load_tokenizer(folder).encode("b c").ids
    assert load(folder)([ids]).shape == (1, 3, V)
    set_fields("config.json", vocab_size="many")(folder)
    with pytest.raises(CheckpointError, match="vocab_size='many' must be a positive int"):
        load_tokenizer(folder)
