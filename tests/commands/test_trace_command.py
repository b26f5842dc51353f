"""minipeft trace: the list of steps, one step with its value, and errors."""

import re
from pathlib import Path

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands.arrays import format_column, format_number, matrix_lines

TEXT = "The soup was cold."


@pytest.fixture
def prefix(base, tmp_path):
    """The folder of an adaptation of the base: a prefix of three rows."""
    γ = mp.PrefixTuning(3).attach(mp.load(base), np.random.default_rng(0))
    mp.save(γ, tmp_path / "prefix")
    return tmp_path / "prefix"


@pytest.fixture
def shown(run, capsys, base):
    """Return a function of flags that returns the lines that are printed."""

    def lines(*flags, model=base):
        assert run("trace", TEXT, *flags, *(["--model", model] if model else [])) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        return lines

    return lines


def test_every_step_is_listed_with_its_equation_shape_numbers_and_line(shown, base):
    model, tokenizer = mp.load(base), mp.load_tokenizer(base)
    steps = mp.trace(model, [tokenizer.encode(TEXT).ids])
    text = "\n".join(shown())
    for step in steps.values():
        assert re.search(rf"^ {re.escape(step.name)} ", text, re.M), step.name
    (line,) = re.findall(r"^ blocks\.0\.attn\.residual .*\n.*", text, re.M)
    step = steps["blocks.0.attn.residual"]
    numbers = " ".join(f"{x:.3g}" for x in step.value.ravel()[:3])
    assert "embeddings + blocks.0.attn" in line and f"{step.file}:{step.line}" in line
    assert f"{step.value.shape} {numbers} …" in line
    assert f"{len(steps)} steps" in text


def test_one_step_is_shown_with_its_inputs_and_its_value(shown):
    text = "\n".join(shown("--step", "blocks.0.attn.softmax"))
    assert re.search(r"equation +softmax\(scores\)", text)
    assert re.search(r"source +minipeft/autograd/functional.py:\d+", text)
    n = len(re.findall(r"^head \d$", text, re.M))
    assert re.search(rf"inputs +blocks\.0\.attn\.scores \(1, {n}, ", text) and n == 2
    assert re.search(r"^head 0\n +The  ", text, re.M)  # columns are tokens, and rows
    assert re.search(r"^The +1\.000( +–)+$", text, re.M)


def test_the_manual_shows_what_is_printed(shown):
    manual = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    (block,) = re.findall(r"^```text\n(blocks\.0\.attn\.softmax\n.*?)```$", manual, re.M | re.S)
    same = lambda lines: [re.sub(r"\.py:\d+", "", line).rstrip() for line in lines]
    lines = same(shown("--step", "blocks.0.attn.softmax", model=None))
    assert same(block.splitlines()) == lines[: len(block.splitlines())]


def test_a_prefix_has_rows_in_front_of_the_tokens(shown, prefix):
    lines = shown("--step", "blocks.1.attn.keys", "--adaptation", prefix)
    assert [line.split()[0] for line in lines if re.match(r"P\d|The ", line)] == [
        "P0",
        "P1",
        "P2",
        "The",
    ] * 2
    text = "\n".join(lines)
    assert "[P_key; k], by head" in text and "Li & Liang 2021, §4" in text
    assert re.search(r"inputs +P_key \(1, 3, 16\)", text)


def test_a_pattern_lists_the_steps_whose_names_begin_with_it(shown):
    names = re.findall(r"^ (\w[\w.]+) ", "\n".join(shown("--step", r"blocks\.1\.(mlp|ln2)")), re.M)
    assert names == [
        f"blocks.1.{n}" for n in ("ln2", "mlp.up", "mlp.activation", "mlp.down", "mlp")
    ]


def test_logits_are_shown_as_the_most_likely_tokens(shown, base):
    model, tokenizer = mp.load(base), mp.load_tokenizer(base)
    ids = tokenizer.encode(TEXT).ids
    last = model([ids]).data[0, -1].argsort()[::-1][:5]
    likely = [tokenizer.decode([i]).strip() or tokenizer.id_to_token(i) for i in last.tolist()]
    assert shown("--step", "head")[-1] == f".: {', '.join(likely)}"


def test_json_has_the_values_of_the_chosen_steps(json_of, base):
    report = json_of("trace", TEXT, "--model", base)
    assert report["tokens"][0] == "The" and "value" not in report["steps"][0]
    report = json_of("trace", TEXT, "--model", base, "--step", "blocks.0.attn.scores")
    (step,) = report["steps"]
    value = np.array(step["value"], float)
    assert value.shape == tuple(step["shape"]) and np.isnan(value[0, 0, 0, 1])
    assert step["inputs"]["blocks.0.attn.keys"] == [1, 2, value.shape[-1], 8]


def test_the_decoder_of_an_encoder_decoder_has_words_of_its_own(shown):
    lines = shown(
        "--decoder-text", "She", "--step", "decoder.blocks.0.cross.softmax", model="seq2seq"
    )
    start = lines.index("head 0")
    assert "The" in lines[start + 1] and lines[start + 1].split()[1] == "soup"
    assert [line.split()[0] for line in lines[start + 2 : lines.index("head 1")]][1:] == ["She"]


@pytest.fixture(scope="module")
def cross(tmp_path_factory):
    """The folder of a LoRA at the keys and the queries of cross-attentions."""
    folder = tmp_path_factory.mktemp("cross") / "lora"
    method = mp.LoRA(rank=1, targets=r"cross\.[kq]$")
    mp.save(method.attach(mp.load("seq2seq"), np.random.default_rng(0)), folder)
    return folder


@pytest.mark.parametrize("step", ["k", "k.base", "v", "keys", "q", "q.base", "queries", "heads"])
def test_rows_of_a_cross_attention_are_words_of_one_side(run, capsys, cross, step):
    """Keys and values are of the words that the encoder reads, all else of those written."""
    flags = "--decoder-text", "She", "--step", f"decoder.blocks.0.cross.{step}"
    assert run("trace", "The soup", "--model", "seq2seq", "--adaptation", cross, *flags) == 0
    lines = capsys.readouterr().out.splitlines()
    names = {line.split()[0] for line in lines[-4:] if not line.startswith((" ", "head"))}
    read = step[0] in "kv"
    assert names >= ({"The", "soup"} if read else {"[PAD]", "She"})
    assert not names & ({"P0", "She"} if read else {"P0", "soup"})


def test_a_classifier_is_traced_through_its_head(shown, base, tmp_path):
    model = mp.Classifier(mp.load(base), 2, pool="last")
    rng = np.random.default_rng(0)
    mp.save(mp.Chain(mp.LoRA(), mp.Probe()).attach(model, rng), tmp_path / "classifier")
    text = "\n".join(shown("--step", "score", "--adaptation", tmp_path / "classifier"))
    assert "score.input (1, 1, 16)" in text and "score.base (1, 1, 2)" in text


REFUSED = {
    "an unknown step": (
        [TEXT, "--step", "blocks.0.atn.softmax"],
        "there is no step 'blocks.0.atn.softmax'; did you mean blocks.0.attn.softmax? "
        "`minipeft trace TEXT` lists all.",
    ),
    "no pattern": ([TEXT, "--step", "["], "--step '[' is no step, and no pattern: unterminated"),
    "no text": ([""], "TEXT has no tokens"),
    "a decoder": ([TEXT, "--decoder-text", "x"], "--decoder-text is for an encoder-decoder"),
    "bytes": (["\udcff"], "TEXT is not valid UTF-8"),
    "too long": (["soup " * 200], "positions, and the model has 128: shorten the text"),
}


@pytest.mark.parametrize(("flags", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_traced_is_refused(refused, flags, message):
    code, error = refused(["trace", *flags])
    assert code == 2 and message in error and len(error.splitlines()) == 1


def test_numbers_have_three_digits():
    assert [format_number(x) for x in (1.23456, -1e-5, 0, None, float("nan"))] == [
        "1.23",
        "-1e-05",
        "0",
        "-∞",
        "-∞",
    ]


def test_matrices_are_cut_or_continued_at_the_width():
    x, words = np.arange(20.0).reshape(2, 10), [*"abcdefghij"]
    cut = [*matrix_lines(x, ["r", "s"], None, 30)]
    assert cut[0].split() == ["0", "1", "…", "norm"] and max(map(len, cut)) <= 30
    assert cut[1].split() == ["r", "0.00", "1.00", f"{np.linalg.norm(x[0]):.2f}"]
    parts = [*matrix_lines(x, ["r", "s"], words, 30)]
    assert [line.split()[0] for line in parts] == ["a", "r", "s", "d", "r", "s", *"grsjrs"]
    assert parts[-1].split() == ["s", "19.00"]
    assert cut[1].startswith("r ") and [*matrix_lines(x, ["食物", "s"], None, 30)][1][:3] == "食物 "


COLUMNS = {  # what is printed: numbers
    ("1.000", "0.091", "–"): (1, 0.0912, np.nan),
    ("0.0912", "-0.0037"): (0.0912, -0.00372),
    ("0.00500",): (0.005,),
    ("12.35", "0.00"): (12.345, 0),
    ("123.4", "1.0"): (123.4, 1),
    ("99999", "0"): (99999, 0.4),
    ("0.000",): (0,),
    ("1e+06", "0.5"): (1e6, 0.5),
    ("0.0001", "2e-05"): (1e-4, 2e-5),
    ("–",): (np.nan,),
}


@pytest.mark.parametrize("texts", COLUMNS, ids=str)
def test_numbers_of_a_column_have_the_same_decimals(texts):
    assert format_column(np.array(COLUMNS[texts], float), "–") == [*texts]
