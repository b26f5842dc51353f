"""examples/llama2c.py: what it writes says what llama2.c says, of a real model and of others."""

import runpy
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minipeft as mp
from tests.support import run_c as theirs
from tests.support.real import real

SCRIPT = Path(__file__).parents[2] / "examples/llama2c.py"
ours = SimpleNamespace(**runpy.run_path(str(SCRIPT)))
SIZES = (24, 20, 2, 4, 2, 265, 12)
WORDS = {" a": -0.5, "ab": -1.0, " ab": -2.0, " ": -3.0, "a": -4.0, "b": -5.0}
PUBLISHED = """\
Once upon a time, there was a little girl named Lily. She loved to play outside in the park. \
One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. \
She said, "I want to play with your ball, but I can't find it."
Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
Lily didn't want to help her mom, so she said, "I'm sorry, mom. I didn't know what to do." \
Her mom said, "Don't worry, Lily. We can help you."""  # llama2.c, doc/stories260K.md


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    """The folder of the real model."""
    folder = tmp_path_factory.mktemp("real") / "stories"
    ours.convert(real("stories260k/stories260K.bin"), real("stories260k/tok512.bin"), folder)
    return folder


@pytest.fixture
def files(tmp_path):
    """A small random model and its tokens."""
    model, tokens = tmp_path / "m.bin", tmp_path / "t.bin"
    model.write_bytes(theirs.model_file(np.random.default_rng(0), SIZES))
    tokens.write_bytes(theirs.tokens_file(WORDS))
    return model, tokens


# -- the model


@pytest.mark.parametrize(
    "sizes", [SIZES, (16, 12, 1, 2, 2, -7, 9), (12, 64, 3, 6, 1, 30, 10), (8, 8, 2, 1, 1, -20, 8)]
)
def test_any_model_says_what_it_said(tmp_path, sizes):
    rng = np.random.default_rng(1)
    raw, ids = theirs.model_file(rng, sizes), rng.integers(0, abs(sizes[5]), 8)
    (tmp_path / "m.bin").write_bytes(raw)
    mp.save(ours.read_model(tmp_path / "m.bin"), tmp_path / "m")
    model = mp.load(tmp_path / "m").astype(np.float64)
    z = theirs.logits(raw, ids)
    assert np.abs(model(ids[None]).data[0] - z).max() < 1e-12 * np.abs(z).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_published_story_comes_out_to_the_last_letter(stories, dtype):
    model, tokenizer = mp.load(stories).astype(dtype), mp.load_tokenizer(stories)
    assert sum(t.data.size for t in model.parameters()) == 260_032
    new = mp.generate(model, [[1]], max_new_tokens=256)[0]
    assert len(new) == 256 and tokenizer.decode([1, *new]) == PUBLISHED
    whole = model([[1, *new[:-1]]]).data[0]  # without a memory, all at once
    assert whole.dtype == dtype and np.array_equal(whole.argmax(1), new)


def test_the_command_goes_on_with_a_space(stories, run, capsys):
    own = "--model", stories, "--temperature", 0, "--tokens", 60
    assert run("generate", *own, "--prompt", "Once upon") == 0
    assert PUBLISHED.startswith(capsys.readouterr().out.rstrip("\n"))


def test_the_real_model_says_what_it_said(stories):
    ids = [1, *mp.load_tokenizer(stories).encode("The king and the thief").ids]
    z = theirs.logits(real("stories260k/stories260K.bin").read_bytes(), ids)
    assert np.abs(mp.load(stories).astype(np.float64)([ids]).data[0] - z).max() < 1e-11


def test_the_real_model_comes_back(stories, tmp_path):
    model, tokenizer = mp.load(stories), mp.load_tokenizer(stories)
    mp.save(model, tmp_path / "again", tokenizer)
    for file in stories.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    again = mp.load(tmp_path / "again")
    assert again.config == model.config
    for (name, t), (same, u) in zip(model.named_parameters(), again.named_parameters()):
        assert name == same and np.array_equal(t.data, u.data)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_transformers_reads_the_folder(stories):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    network = transformers.AutoModelForCausalLM.from_pretrained(stories)
    tokenizer = transformers.AutoTokenizer.from_pretrained(stories)
    ids = tokenizer("Once there was a king.\nHe had é 😀", return_tensors="np")["input_ids"]
    assert ids.tolist() == [mp.load_tokenizer(stories).encode(tokenizer.decode(ids[0][1:])).ids]
    with torch.no_grad():
        z = network(input_ids=torch.tensor(ids)).logits.numpy()
    assert np.abs(mp.load(stories)(ids).data - z).max() < 1e-4
    new = network.generate(torch.tensor([[1]]), max_new_tokens=256, do_sample=False)[0]
    assert tokenizer.decode(new, skip_special_tokens=True) == PUBLISHED


# -- the tokens


def agree(text, tokenizer, found):
    ids = tokenizer.encode(text).ids
    assert ids == theirs.encode(text, found), text
    assert tokenizer.decode(ids) == text == theirs.decode(ids, found).decode()


@pytest.fixture(scope="module")
def tokens():
    path = real("stories260k/tok512.bin")
    return ours.read_tokenizer(path), theirs.tokens(path.read_bytes())


def test_shakespeare_is_cut_as_it_was(tokens):
    text = real("tinyshakespeare/input.txt").read_text(encoding="utf-8")
    pieces = [text[at : at + 97] for at in range(0, len(text), 2003)]
    assert len(pieces) > 500
    for piece in [
        *pieces,
        PUBLISHED[:300],
        "",
        " ",
        "   a",
        "\n\n",
        "<0x0A>",
        "▁",
        "ééñ😀中",
        "\t",
    ]:
        agree(piece, *tokens)


@given(st.data())
def test_any_text_is_cut_as_it_was(tokens, data):
    tokenizer, found = tokens
    known = [token.decode() for _, token in found[259:]]
    for texts in st.text(), st.lists(st.sampled_from(known)).map("".join):
        text = data.draw(texts)
        assume(not any(special in text for special in ours.SPECIAL))
        agree(text, tokenizer, found)


def in_bytes(c):
    return [byte + 3 for byte in c.encode()]


ONE = st.integers(259, 511).map(lambda n: [n])
SPELT = st.characters(exclude_characters=" ", exclude_categories=["Cs"]).map(in_bytes)


@given(st.lists(ONE | SPELT).map(lambda parts: sum(parts, [1])))
def test_any_tokens_read_as_they_did(tokens, ids):
    tokenizer, found = tokens
    assert tokenizer.decode(ids) == theirs.decode(ids, found).decode()


def test_small_tokens_are_cut_as_they_were(files):
    tokenizer, found = ours.read_tokenizer(files[1]), theirs.tokens(files[1].read_bytes())
    for text in "ab", "abab", "aab b", "a\x00b", "é", " ab ab", "c":
        agree(text, tokenizer, found)


# -- what is no such file


def rewritten(path, at, content):
    raw = path.read_bytes()
    path.write_bytes(raw[:at] + content + raw[at + len(content) :])


def number(n):
    return struct.pack("<i", n)


def nan(path):
    rewritten(path, 28, struct.pack("<f", float("nan")))


MODELS = {
    "empty": (lambda path: path.write_bytes(b""), "0 bytes are no llama2.c model"),
    "only a header": (lambda path: path.write_bytes(path.read_bytes()[:28]), "28 bytes, but"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, but"),
    "too long": (lambda path: path.write_bytes(path.read_bytes() + b"1234"), "bytes, but"),
    "version 1": (lambda path: rewritten(path, 0, b"24ka\x01\0\0\0"), "version 0"),
    "text": (lambda path: path.write_bytes(b"Once upon a time, there was a model."), "version 0"),
    "no layers": (lambda path: rewritten(path, 8, number(0)), "less than 1"),
    "a negative width": (lambda path: rewritten(path, 0, number(-24)), "less than 1"),
    "no hidden": (lambda path: rewritten(path, 4, number(0)), "less than 1"),
    "5 heads of 24": (lambda path: rewritten(path, 12, number(5)), "multiple of heads"),
    "3 key heads of 4": (lambda path: rewritten(path, 16, number(3)), "key_heads 3"),
    "odd heads": (lambda path: rewritten(path, 12, number(8)), "turn pairs"),
    "a huge vocabulary": (lambda path: rewritten(path, 20, number(2**31 - 1)), "bytes, but"),
    "huge layers": (lambda path: rewritten(path, 8, number(2**31 - 1)), "bytes, but"),
    "NaN": (nan, "NaN"),
}
TOKENS = {
    "empty": (lambda path: path.write_bytes(b""), "no tokens of llama2.c's"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "no whole file of tokens"),
    "a huge length": (lambda path: rewritten(path, 8, number(-1)), "no whole file of tokens"),
    "no UTF-8": (lambda path: rewritten(path, 12, b"\xff"), "no whole file of tokens"),
    "another byte": (lambda path: rewritten(path, 66, b"#"), "<0x00> to <0xFF>"),
    "one twice": (lambda path: rewritten(path, len(path.read_bytes()) - 1, b"a"), "<0x00>"),
    "one more": (lambda path: path.write_bytes(theirs.tokens_file(WORDS | {"c": 0})), "266 tokens"),
}
HOSTILE = [(0, *case) for case in MODELS.values()] + [(1, *case) for case in TOKENS.values()]


@pytest.mark.parametrize("which,spoil,told", HOSTILE, ids=[*MODELS, *TOKENS])
def test_another_file_is_one_clear_error(files, tmp_path, which, spoil, told):
    spoil(files[which])
    with pytest.raises(mp.CheckpointError, match=told):
        ours.convert(*files, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_and_a_whole_one_is_none(files, tmp_path):
    ours.convert(*files, tmp_path / "m")
    V = mp.load(tmp_path / "m").config.vocabulary
    assert V == mp.load_tokenizer(tmp_path / "m").get_vocab_size() == SIZES[5]
