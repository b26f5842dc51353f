"""minipeft generate: its settings, and text as it comes."""

import io
import json
import sys

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands import generate as command
from minipeft.commands.generate import print_stream
from tests.support.families import V
from tests.support.folders import T5
from tests.support.tokenizers import letters

PROMPT = "--prompt", "The soup", "--max-new-tokens", "6"


@pytest.fixture
def folder(base, tmp_path):
    """A copy of the base whose weights are larger, so that its tokens differ."""
    model = mp.load(base)
    mp.save(model.map(lambda t: mp.Tensor(t.data * 4)), tmp_path / "m", mp.load_tokenizer(base))
    return tmp_path / "m"


@pytest.fixture
def text(run, capsys, folder):
    """Return a function of flags that returns the text, without the prompt."""

    def text(*flags):
        assert run("generate", "--model", folder, *PROMPT, *flags, "--json") == 0
        return json.loads(capsys.readouterr().out)["text"]

    return text


def test_flags_are_the_settings(folder, text):
    model, tokenizer = mp.load(folder), mp.load_tokenizer(folder)
    ids, end = tokenizer.encode("The soup").ids, tokenizer.token_to_id("<|endoftext|>")
    rng = lambda: np.random.default_rng(0)

    def wanted(**settings):
        new = mp.generate(model, [ids], max_new_tokens=6, eos=end, **settings)[0].tolist()
        return tokenizer.decode(ids + new)[len("The soup") :]

    assert text() == wanted(temperature=0.8, top_k=40, rng=rng())
    assert text("--temperature", 0) == wanted()
    flags = "--temperature", 3, "--top-k", 0, "--top-p", 0.9, "--repetition-penalty", 1.5
    how = {"temperature": 3.0, "top_p": 0.9, "repetition_penalty": 1.5}
    assert text(*flags) == wanted(**how, rng=rng())
    flags = "--num-beams", 3, "--length-penalty", -2, "--early-stopping", "yes"
    how = {"num_beams": 3, "length_penalty": -2.0, "early_stopping": True}
    assert text(*flags) == wanted(**how)
    flags = "--no-repeat-ngram-size", 1, "--min-new-tokens", 5, "--length-formula", "gnmt"
    how = {"no_repeat_ngram_size": 1, "min_new_tokens": 5, "length_formula": "gnmt"}
    assert text(*flags, "--num-beams", 2) == wanted(**how, num_beams=2)


def test_the_folder_says_what_flags_leave_out(folder, text):
    greedy, beams = text("--temperature", 0), text("--num-beams", 3)
    (folder / "generation_config.json").write_text('{"num_beams": 3}')
    assert text() == beams and text("--num-beams", 1) == greedy
    (folder / "generation_config.json").write_text('{"do_sample": false}')
    assert text() == greedy


def test_a_text_ends_after_a_string(text):
    whole = text("--temperature", 0)
    cut = text("--temperature", 0, "--stop", "never there", whole[1:3])
    assert whole[1:3] in cut and whole.startswith(cut) and cut != whole


def test_a_stream_is_the_text(folder, run, text, capsys, monkeypatch):
    wanted = f"The soup{text()}\n"
    assert run("generate", "--model", folder, *PROMPT, "--stream") == 0
    assert capsys.readouterr().out == wanted
    streams = []
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    original = command.generate
    monkeypatch.setattr(
        command,
        "generate",
        lambda *a, **how: (streams.append(how["stream"]), original(*a, **how))[1],
    )
    for flags in ([], ["--num-beams", "2"], ["--json"]):
        assert run("generate", "--model", folder, *PROMPT, *flags) == 0
    assert streams == [True, False, False]


@pytest.mark.parametrize(
    "flags, error",
    [
        (["--stream", "--num-beams", "2"], "stream=True does not go with num_beams=2"),
        (["--stream", "--json"], "leave one out"),
        (["--num-beams", "0"], "--num-beams must be at least 1, not 0"),
        (["--top-p", "2"], "top_p=2.0 must be above 0, and at most 1"),
    ],
)
def test_wrong_flags_are_one_line(folder, run, capsys, flags, error):
    assert run("generate", "--model", folder, *PROMPT, *flags) == 2
    assert error in capsys.readouterr().err


def test_a_character_of_several_tokens_is_printed_once_it_is_whole(monkeypatch):
    """Each token is a byte of "é→.", whose characters have two, three and one bytes."""
    text, printed = "é→.".encode(), []
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys.stdout, "flush", lambda: printed.append(sys.stdout.getvalue()))
    decode = lambda new: bytes(new).decode(errors="replace")
    print_stream("> ", (np.array([byte]) for byte in text), decode)
    assert printed == ["> ", "> é", "> é→", "> é→."]
    assert sys.stdout.getvalue() == "> é→.\n"
    print_stream("", (np.array([byte]) for byte in text[:1]), decode)  # an end within one
    assert sys.stdout.getvalue().endswith("\N{REPLACEMENT CHARACTER}\n")


def test_an_encoder_decoder_writes_a_text_of_its_own(tmp_path, run, capsys):
    model, tokenizer = T5.astype("float32"), letters(V)
    mp.save(model, tmp_path / "m", tokenizer)
    ids = tokenizer.encode("b c d").ids
    new = mp.generate(mp.load(tmp_path / "m"), [ids], max_new_tokens=5, eos=[])
    text = tokenizer.decode(new[0].tolist())
    args = "generate", "--model", tmp_path / "m", "--prompt", "b c d", "--max-new-tokens", "5"
    args = *args, "--temperature", "0", "--min-new-tokens", "5"
    assert run(*args) == 0 and capsys.readouterr().out == f"{text}\n"
    assert run(*args, "--stream") == 0 and capsys.readouterr().out == f"{text}\n"
    assert run(*args, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {"prompt": "b c d", "text": text, "new_tokens": 5}
