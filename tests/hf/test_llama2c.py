"""examples/llama2c.py: converted models and tokenizers compute what llama2.c computes."""

import runpy
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minipeft as mp
from tests.support import run_c
from tests.support.folders import assert_same
from tests.support.real import real

SCRIPT = Path(__file__).parents[2] / "examples/llama2c.py"
llama2c = SimpleNamespace(**runpy.run_path(str(SCRIPT)))
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
    """The converted folder of the real model."""
    folder = tmp_path_factory.mktemp("real") / "stories"
    llama2c.convert(real("stories260k/stories260K.bin"), real("stories260k/tok512.bin"), folder)
    return folder


@pytest.fixture
def files(tmp_path):
    """The files of a small random model and its tokenizer."""
    model, tokens = tmp_path / "m.bin", tmp_path / "t.bin"
    model.write_bytes(run_c.model_file(np.random.default_rng(0), SIZES))
    tokens.write_bytes(run_c.tokens_file(WORDS))
    return model, tokens


# -- the model


@pytest.mark.parametrize(
    "sizes", [SIZES, (16, 12, 1, 2, 2, -7, 9), (12, 64, 3, 6, 1, 30, 10), (8, 8, 2, 1, 1, -20, 8)]
)
def test_any_model_has_the_logits_of_run_c(tmp_path, sizes):
    rng = np.random.default_rng(1)
    raw, ids = run_c.model_file(rng, sizes), rng.integers(0, abs(sizes[5]), 8)
    (tmp_path / "m.bin").write_bytes(raw)
    mp.save(llama2c.read_model(tmp_path / "m.bin"), tmp_path / "m")
    model = mp.load(tmp_path / "m").astype(np.float64)
    z = run_c.logits(raw, ids)
    assert np.abs(model(ids[None]).data[0] - z).max() < 1e-12 * np.abs(z).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_published_story_is_generated_letter_by_letter(stories, dtype):
    model, tokenizer = mp.load(stories).astype(dtype), mp.load_tokenizer(stories)
    assert sum(t.data.size for t in model.parameters()) == 260_032
    new = mp.generate(model, [[1]], max_new_tokens=256)[0]
    assert len(new) == 256 and tokenizer.decode([1, *new]) == PUBLISHED
    z = model([[1, *new[:-1]]]).data[0]  # without a cache, all tokens at once
    assert z.dtype == dtype and np.array_equal(z.argmax(1), new)


def test_the_command_continues_with_a_space(stories, run, capsys):
    options = "--model", stories, "--temperature", 0, "--max-new-tokens", 60
    assert run("generate", *options, "--prompt", "Once upon") == 0
    assert PUBLISHED.startswith(capsys.readouterr().out.rstrip("\n"))


def test_the_real_model_has_the_logits_of_run_c(stories):
    ids = [1, *mp.load_tokenizer(stories).encode("The king and the thief").ids]
    z = run_c.logits(real("stories260k/stories260K.bin").read_bytes(), ids)
    assert np.abs(mp.load(stories).astype(np.float64)([ids]).data[0] - z).max() < 1e-11


def test_the_real_model_is_saved_as_it_was_loaded(stories, tmp_path):
    model, tokenizer = mp.load(stories), mp.load_tokenizer(stories)
    mp.save(model, tmp_path / "again", tokenizer)
    for file in stories.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    again = mp.load(tmp_path / "again")
    assert again.config == model.config
    assert_same(again, model)


@pytest.mark.filterwarnings("ignore")  # of transformers
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


# -- the tokenizer


def check_text(text, tokenizer, vocabulary):
    """Raise AssertionError unless run_c has the same ids of a text, and the same text of these."""
    ids = tokenizer.encode(text).ids
    assert ids == run_c.encode(text, vocabulary), text
    assert tokenizer.decode(ids) == text == run_c.decode(ids, vocabulary).decode()


@pytest.fixture(scope="module")
def tokenizers():
    """The real tokenizer, converted and as run_c reads it."""
    path = real("stories260k/tok512.bin")
    return llama2c.read_tokenizer(path), run_c.tokens(path.read_bytes())


def test_shakespeare_has_the_ids_of_run_c(tokenizers):
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
        check_text(piece, *tokenizers)


@given(st.data())
def test_any_text_has_the_ids_of_run_c(tokenizers, data):
    tokenizer, vocabulary = tokenizers
    known = [token.decode() for _, token in vocabulary[259:]]
    for texts in st.text(), st.lists(st.sampled_from(known)).map("".join):
        text = data.draw(texts)
        assume(not any(special in text for special in llama2c.SPECIAL_TOKENS))
        check_text(text, tokenizer, vocabulary)


def byte_tokens(c):
    return [byte + 3 for byte in c.encode()]


ONE_TOKEN = st.integers(259, 511).map(lambda n: [n])
IN_BYTES = st.characters(exclude_characters=" ", exclude_categories=["Cs"]).map(byte_tokens)


@given(st.lists(ONE_TOKEN | IN_BYTES).map(lambda parts: sum(parts, [1])))
def test_any_tokens_have_the_text_of_run_c(tokenizers, ids):
    tokenizer, vocabulary = tokenizers
    assert tokenizer.decode(ids) == run_c.decode(ids, vocabulary).decode()


def test_a_small_tokenizer_has_the_ids_of_run_c(files):
    tokenizer = llama2c.read_tokenizer(files[1])
    vocabulary = run_c.tokens(files[1].read_bytes())
    for text in "ab", "abab", "aab b", "a\x00b", "é", " ab ab", "c":
        check_text(text, tokenizer, vocabulary)


# -- malformed files


def edit(change):
    """Replace the bytes of a file by change(bytes)."""
    return lambda path: path.write_bytes(change(path.read_bytes()))


def overwrite(offset, content):
    return edit(lambda raw: raw[:offset] + content + raw[offset + len(content) :])


def set_integer(offset, n):
    return overwrite(offset, struct.pack("<i", n))


SIZE, TOO_SMALL = "bytes; its header implies", "every size must be at least 1"
INVALID = "is not a tokenizer of llama2.c"
MODELS = {
    "empty": (edit(lambda raw: b""), "0 bytes; a llama2.c model begins with"),
    "only a header": (edit(lambda raw: raw[:28]), f"28 {SIZE}"),
    "truncated": (edit(lambda raw: raw[:-1]), SIZE),
    "too long": (edit(lambda raw: raw + b"1234"), SIZE),
    "version 1": (overwrite(0, b"24ka\x01\0\0\0"), "version 0"),
    "text": (edit(lambda raw: b"Once upon a time, there was a model."), "version 0"),
    "no layers": (set_integer(8, 0), TOO_SMALL),
    "a negative width": (set_integer(0, -24), TOO_SMALL),
    "no MLP": (set_integer(4, 0), TOO_SMALL),
    "5 heads of 24": (set_integer(12, 5), "multiple of heads"),
    "3 key heads of 4": (set_integer(16, 3), "key_heads 3"),
    "odd heads": (set_integer(12, 8), "rotary positions need an even head width"),
    "a huge vocabulary": (set_integer(20, 2**31 - 1), SIZE),
    "huge layers": (set_integer(8, 2**31 - 1), SIZE),
    "NaN": (overwrite(28, struct.pack("<f", float("nan"))), "NaN"),
}
TOKENS = {
    "empty": (edit(lambda raw: b""), INVALID),
    "truncated": (edit(lambda raw: raw[:-1]), f"{INVALID}.*, at byte"),
    "a huge length": (set_integer(8, -1), f"{INVALID}.*, at byte"),
    "not UTF-8": (overwrite(12, b"\xff"), f"{INVALID}.*, at byte"),
    "another byte": (overwrite(66, b"#"), "must be <0x00> to <0xFF>"),
    "one twice": (edit(lambda raw: raw[:-1] + b"a"), "no token may come twice"),
    "one more": (
        edit(lambda raw: run_c.tokens_file(WORDS | {"c": 0})),
        "has 266 tokens, and the model has 265",
    ),
}
MALFORMED = [(0, *case) for case in MODELS.values()] + [(1, *case) for case in TOKENS.values()]


@pytest.mark.parametrize("which, change, message", MALFORMED, ids=[*MODELS, *TOKENS])
def test_malformed_files_are_refused(files, tmp_path, which, change, message):
    change(files[which])
    with pytest.raises(mp.CheckpointError, match=message):
        llama2c.convert(*files, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_valid_files_are_converted(files, tmp_path):
    llama2c.convert(*files, tmp_path / "m")
    V = mp.load(tmp_path / "m").config.vocabulary
    assert V == mp.load_tokenizer(tmp_path / "m").get_vocab_size() == SIZES[5]
