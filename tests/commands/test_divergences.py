"""evaluate: how far an adaptation moves predictions, and whether random ones do as much."""

import textwrap

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands.divergences import TEXTS, cells, sample, sentence
from minipeft.inspection.divergence import mean_kl
from minipeft.methods.template import Layout
from tests.commands.test_encoder_decoders import pairs, seq2seq  # noqa: F401  fixtures

USED = "x is used (KL {} nats){}"


def saved(method, model, folder, moved=0.0, seed=0):
    """Save the method, with all of its parameters moved by noise of this size; return γ."""
    rng = np.random.default_rng(seed)
    γ = method.attach(model, rng)
    for p in γ.parameters():
        p.data += moved * rng.normal(size=p.shape).astype(p.dtype)
    mp.save(γ, folder)
    return γ


@pytest.mark.parametrize("n, indices", [(3, [0, 1, 2]), (8, [*range(8)]), (20, [0, 2, 5, 7])])
def test_the_texts_are_evenly_spaced(n, indices):
    assert sample(n)[: len(indices)] == indices and len(sample(n)) == min(n, TEXTS)
    assert sample(n)[-1] >= n * 7 // 8 - 1


@pytest.mark.parametrize("method", [mp.LoRA(), mp.PseudoTokens("[P]*2 {x}"), mp.PrefixTuning(2)])
def test_the_divergence_of_a_language_model(base, tmp_path, json_of, method):
    """The distributions of the next token, in at most eight passages of the text."""
    model, tokenizer, text = mp.load(base), mp.load_tokenizer(base), base.parent / "world.txt"
    γ = saved(method, model, tmp_path / "γ", moved=0.3)
    args = "--model", base, "--data", text, "--adaptation", tmp_path / "γ", "--block-size", 16
    base_result, result = json_of("evaluate", *args)["results"]
    ids = tokenizer.encode(text.read_text()).ids
    passages = np.array(ids[: len(ids) // 16 * 16]).reshape(-1, 16)
    some = passages[[i * len(passages) // 8 for i in range(8)]]
    front = len(Layout(γ.template, tokenizer, model)([]))
    adapted = model(Layout(γ.template, tokenizer, model).language(some)[0], γ).data[:, front:-1]
    kl = mean_kl(*(z.reshape(-1, 300) for z in (adapted, model(some).data[:, :-1])))
    assert np.isclose(result["kl"], kl, rtol=1e-4) and kl > 0 and result["kl_random"] > 0
    assert abs(result["z"]) < 20 and "kl" not in base_result


def test_the_divergence_of_a_classifier_is_of_the_same_head(base, examples, tmp_path, json_of):
    lora, probe = tmp_path / "lora", tmp_path / "probe"
    for name, out in (("lora", lora), ("probe", probe)):
        steps = ("--steps", 30, "--lr", 0.02) if name == "lora" else ()
        json_of("train", name, "--model", base, "--data", examples, "--out", out, *steps)
    args = "--model", base, "--data", examples, "--adaptation", lora, probe
    trained, head = json_of("evaluate", *args)["results"]
    model = mp.Classifier(mp.load(base), 2)
    γ, tokenizer = mp.load_adaptation(lora, model), mp.load_tokenizer(base)
    rows = [line.split('"')[3] for line in examples.read_text().splitlines()]
    logits = lambda γ: np.concatenate(
        [model([tokenizer.encode(rows[i * 120 // 8]).ids], γ).data for i in range(8)]
    )
    kl = mean_kl(*(logits(m) for m in (γ, γ.parts[1])))
    assert np.isclose(trained["kl"], kl, rtol=1e-3) and kl > 0.1
    assert head["kl"] is head["kl_random"] is head["z"] is None


def test_texts_are_truncated_for_an_adaptation_that_takes_positions(
    base, examples, tmp_path, json_of
):
    out = tmp_path / "prompt"
    args = "--model", base, "--data", examples
    json_of("train", "prompt", "--length", 100, *args, "--out", out, "--steps", 1)
    long = tmp_path / "long.csv"
    long.write_text(f"text,label\n{'warm ' * 200},good\n{'cold ' * 200},bad\n")
    args = "--model", base, "--data", long, "--adaptation", out
    assert json_of("evaluate", *args)["results"][0]["kl"] > 0


def test_the_divergence_of_an_encoder_decoder(seq2seq, pairs, tmp_path, json_of):  # noqa: F811
    model, tokenizer = mp.load(seq2seq), mp.load_tokenizer(seq2seq)
    γ = saved(mp.LoRA(), model, tmp_path / "γ", moved=0.3)
    args = "--model", seq2seq, "--data", pairs, "--adaptation", tmp_path / "γ"
    _, result = json_of("evaluate", *args)["results"]
    rows = [line.split('"') for line in pairs.read_text().splitlines()]
    distributions = []
    for m in (γ, None):
        z = []
        for row in (rows[i * 30 // 8] for i in range(8)):
            labels = [tokenizer.encode(row[7]).ids]
            z.append(
                model(
                    [tokenizer.encode(row[3]).ids],
                    m,
                    decoder_ids=model.shift_right(np.array(labels)),
                ).data[0]
            )
        distributions.append(np.concatenate(z))
    assert np.isclose(result["kl"], mean_kl(*distributions), rtol=1e-4) and result["kl"] > 0


def test_the_words_fit_a_terminal(base, tmp_path, run, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, text = mp.load(base), base.parent / "world.txt"
    saved(mp.LoRA(), model, "untrained")
    saved(mp.PromptTuning(2), model, "random")
    assert (
        run("evaluate", "--model", base, "--data", text, "--adaptation", "untrained", "random") == 0
    )
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    words = " ".join(out.split())
    assert "untrained changes nothing: was it trained?" in words
    assert "random is used (KL " in words
    assert "Random parameters of the same norms change predictions as much" in words
    assert "KL: divergence from the base, nats per token; random: median KL of 16" in words
    assert run("evaluate", "--model", base, "--data", text) == 0
    assert "KL" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "result, words, texts",
    [
        ((3, 0.01, 9.0), USED.format("3.0", ", and changes predictions more"), "3.0 0.010 9.0"),
        ((0.5, 0.45, 0.0), USED.format("0.50", ". Random parameters"), "0.50 0.45 0.0"),
        ((12.4, 0.45, -2.0), USED.format("12", ". Random parameters"), "12 0.45 -2.0"),
        ((0.1, 0.9, -3.5), USED.format("0.10", ", and changes predictions less"), "0.10 0.90 -3.5"),
        ((0.0, 0.0, None), "x changes nothing: was it trained?", "0.0 0.0"),
        ((0.1, 0.0, None), USED.format("0.10", "; it can't be compared"), "0.10 0.0"),
        ((None, None, None), "x: no KL, since the frozen network has no", ""),
    ],
)
def test_words(result, words, texts):
    result = dict(zip(("kl", "kl_random", "z"), result)) | {"adaptation": "x"}
    assert sentence(result).startswith(words) and cells(result) == (texts.split() + [""] * 3)[:3]
    assert len(textwrap.wrap(sentence(result), 80)) <= 2
