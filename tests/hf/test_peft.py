"""What PEFT's settings say of layers, and what they can't say."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from minipeft import (
    IA3,
    Adapter,
    Chain,
    Classifier,
    DoRA,
    Encoded,
    FullFineTuning,
    LoRA,
    MultitaskPrompt,
    PrefixTuning,
    Probe,
    PromptTuning,
    PseudoTokens,
    SpanClassifier,
    load,
    load_adaptation,
    save,
)
from minipeft.hf import CheckpointError
from minipeft.methods import BiasTuning
from tests.support.families import BERT, GPT2, LLAMA, C, decoder, encoder, nudged

MODELS = {
    "gpt2": nudged(decoder(GPT2)),
    "llama": nudged(decoder(replace(LLAMA, window=None, biases=()))),
    "bert": nudged(encoder(BERT)),
}
MODEL = MODELS["gpt2"]
QKV = r"attn\.[qkv]$"
families = pytest.mark.parametrize("name", MODELS)


def drawn(γ, model):
    """Attached, with no number where it started."""
    rng = np.random.default_rng(0)
    γ = γ.attach(model, rng)
    for p in γ.parameters():
        p.data = p.data + 0.3 * rng.normal(size=p.shape)
    return γ


def written(γ, folder, tensors=(), without=(), **settings):
    """A folder as PEFT would have it, of which some settings are others or left out."""
    save(γ, folder, dtype=np.float64)
    path, file = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    said = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({name: said[name] for name in said if name not in without}))
    save_file(load_file(file) | dict(tensors), file)
    return folder


def kind(folder):
    return json.loads((folder / "adapter_config.json").read_text())["peft_type"]


def said(model, γ):
    return model(np.array([[1, 2, 3, 4]]), γ).data


@pytest.mark.parametrize("name, targets", [("gpt2", QKV), *((n, "") for n in ("llama", "bert"))])
def test_what_a_lora_leaves_out_is_as_peft_has_it(tmp_path, name, targets):
    model = MODELS[name]
    γ = drawn(LoRA(8, 8, targets=targets or r"attn\.[qv]$"), model)
    γ = γ if name != "gpt2" else drawn(LoRA(8, 8, targets=QKV, fused=True), model)
    out = "target_modules", "r", "lora_alpha", "lora_dropout", "bias", "task_type", "use_dora"
    again = load_adaptation(written(γ, tmp_path / "a", without=out), model)
    assert (again.rank, again.alpha, again.dropout, [*again.at]) == (8, 8, 0, [*γ.at])
    assert np.abs(said(model, again) - said(model, γ)).max() < 1e-12


def test_dropout_comes_in(tmp_path):
    γ = drawn(LoRA(2, dropout=0.25), MODEL)
    assert load_adaptation(written(γ, tmp_path / "a"), MODEL).dropout == 0.25


def test_an_old_llama_has_frequencies_beside_its_layers(tmp_path):
    save(MODELS["llama"], tmp_path / "m", dtype=np.float64)
    path, ω = tmp_path / "m/model.safetensors", np.ones(2)
    names = [
        f"model.{at}rotary_emb.inv_freq" for at in ("", *[f"layers.{n}.self_attn." for n in (0, 1)])
    ]
    save_file(load_file(path) | dict.fromkeys(names, ω), path)
    assert load(tmp_path / "m").config == MODELS["llama"].config


@families
def test_all_linear_is_all_but_the_head(tmp_path, name):
    model = MODELS[name]
    γ = drawn(LoRA(2, targets=r"attn\.[qkvo]$|mlp\.|pooler|dense"), model)
    folder = written(γ, tmp_path / "a", target_modules="all-linear")
    assert np.abs(said(model, load_adaptation(folder, model)) - said(model, γ)).max() < 1e-12


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"lora_bias": True}, "lora_bias=True is not supported"),
        ({"alora_invocation_tokens": [1]}, r"alora_invocation_tokens=\[1\] is not supported"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"layers_to_transform": [0.0]}, "must be numbers of layers"),
        ({"layers_to_transform": 1}, "no place for h.0.attn.c_attn"),
        ({"r": 25}, r"rank 25 is beyond h.0.attn.c_attn, \(8, 24\)"),
        ({"target_modules": ["ln_1"]}, "h.0.ln_1 has not a matrix to change"),
    ],
)
def test_a_lora_that_can_not_be_is_refused_by_name(tmp_path, settings, says):
    folder = written(drawn(LoRA(2), MODEL), tmp_path / "a", **settings)
    with pytest.raises(CheckpointError, match=says):
        load_adaptation(folder, MODEL)


def test_an_embedding_beside_its_lora_is_the_bases(tmp_path):
    γ = drawn(LoRA(2, targets="^tokens$"), MODEL)
    name, W = "base_model.model.transformer.wte.base_layer.weight", MODEL.tokens.W.data
    load_adaptation(written(γ, tmp_path / "a", {name: W}), MODEL)
    with pytest.raises(CheckpointError, match="wte.base_layer.weight is not the model's"):
        load_adaptation(written(γ, tmp_path / "b", {name: W + 0.1}), MODEL)


@families
def test_a_lora_may_be_of_names_with_what_stands_before(tmp_path, name):
    """PEFT has endings, at a dot, of names in all of the network."""
    model = MODELS[name]
    γ = drawn(LoRA(2, targets=r"0\.mlp\.up$"), model)
    save(γ, tmp_path / "a")
    (module,) = {
        n.removeprefix("base_model.model.").partition(".lora")[0]
        for n in load_file(tmp_path / "a/adapter_model.safetensors")
    }
    for ending in (module, module.partition(".")[2]):
        folder = changed(written(γ, tmp_path / ending), target_modules=[ending])
        assert [*load_adaptation(folder, model).at] == ["blocks.0.mlp.up"]
    with pytest.raises(CheckpointError, match="no layer matches"):
        load_adaptation(changed(folder, target_modules=[module.partition(".")[2][1:]]), model)


def test_an_ending_names_no_others(tmp_path):
    """BERT's attention.output.dense ends as output.dense does."""
    model = MODELS["bert"]
    γ = drawn(LoRA(2, targets=r"mlp\.down$"), model)
    assert [*load_adaptation(written(γ, tmp_path / "a"), model).at] == [*γ.at]


def test_pseudo_tokens_in_front_are_a_prompt(tmp_path):
    γ = drawn(PseudoTokens("[P]*2 [P] {x}"), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert kind(tmp_path / "a") == "P_TUNING"
    assert repr(load_adaptation(tmp_path / "a", MODEL)) == repr(γ)
    theirs = load_adaptation(tmp_path / "a", MODEL, compat="peft")
    assert said(MODEL, theirs).shape[1] == 3 + 4


def test_what_was_encoded_is_what_it_encoded(tmp_path):
    γ = drawn(Encoded(PrefixTuning(4, init="normal"), mlp_width=6), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert kind(tmp_path / "a") == "PREFIX_TUNING"
    assert repr(load_adaptation(tmp_path / "a", MODEL)) == repr(γ.method)


def test_chains_in_chains_come_back(tmp_path):
    norms = FullFineTuning(r"ln\d?$")
    γ = drawn(Chain(Chain(LoRA(2), BiasTuning(QKV)), Chain(norms)), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert kind(tmp_path / "a") == "LORA"
    assert repr(load_adaptation(tmp_path / "a", MODEL)) == repr(γ)


def test_scales_of_c_attn_are_of_q_k_and_v(tmp_path):
    γ = drawn(IA3(r"attn\.[qkv]$|mlp\.up$", inputs=r"mlp\.up$"), MODEL)
    folder = written(γ, tmp_path / "a")
    l = load_file(folder / "adapter_model.safetensors")[
        "base_model.model.transformer.h.1.attn.c_attn.ia3_l"
    ]
    want = [γ.at[f"blocks.1.attn.{n}"][0].data.T for n in "qkv"]
    assert np.array_equal(l, np.concatenate(want))
    assert np.array_equal(said(MODEL, load_adaptation(folder, MODEL)), said(MODEL, γ))


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_biases_of_all_layers_come_once(tmp_path, name):
    """Those of a head that is kept whole are the head's; that of tied words is there twice."""
    model = SpanClassifier(MODEL) if name == "gpt2" else MODELS["bert"]
    parts = [LoRA(2), BiasTuning("^(?!score)"), *[Probe()] * (name == "gpt2")]
    γ = drawn(Chain(*parts), model)
    again, own = load_adaptation(written(γ, tmp_path / "a", tied(γ)), model), γ.methods[1]
    assert again.methods[1].at.keys() == own.at.keys()
    z = model(np.array([[1, 2, 3]]), γ).data
    assert np.abs(model(np.array([[1, 2, 3]]), again).data - z).max() < 1e-12


def tied(γ):
    """The bias of a masked language model's words, as PEFT has it once more."""
    at = γ.methods[1].at.get("head")
    return {"base_model.model.cls.predictions.decoder.bias": at[0].data[0]} if at else {}


@pytest.mark.parametrize("targets", [QKV, r"1\.attn\.[qkv]$", r"mlp\.up$", r"0\.mlp\.up$"])
def test_a_lora_knows_where_it_is(tmp_path, targets):
    """What is made anew as it says of itself stands there too, and shares what it shares."""
    γ = drawn(LoRA(2, targets=targets, fused="attn" in targets), MODEL)
    again = load_adaptation(written(γ, tmp_path / "a"), MODEL)
    other = replace(again).attach(MODEL, np.random.default_rng(0))
    assert [*other.at] == [*again.at] == [*γ.at]
    assert len(other.parameters()) == len(again.parameters()) == len(γ.parameters())


def test_what_is_more_than_we_wrote_is_kept(tmp_path):
    """Trained on in PEFT, q's rows of B may lie beside the A that was v's alone."""
    γ = drawn(LoRA(2), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a/adapter_model.safetensors"
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    more = {n: x + 1 for n, x in tensors.items() if "lora_B" in n}
    save_file(tensors | more, path, metadata)
    save_file(tensors | more, written(γ, tmp_path / "b") / path.name)
    one, other = (load_adaptation(tmp_path / name, MODEL) for name in "ab")
    assert np.abs(said(MODEL, one) - said(MODEL, other)).max() < 1e-12


def test_what_is_left_out_of_ours_is_the_default(tmp_path):
    γ = drawn(Adapter(3), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a/adapter_config.json"
    path.write_text(
        json.dumps({n: x for n, x in json.loads(path.read_text()).items() if n != "targets"})
    )
    assert repr(load_adaptation(tmp_path / "a", MODEL)) == repr(γ)


def changed(folder, **settings):
    """A folder of ours whose settings another program changed."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def test_what_the_file_says_counts_not_what_we_wrote_beside(tmp_path):
    γ = drawn(LoRA(2, 3), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    rooted = replace(γ, alpha=6).lay(γ.at, MODEL)  # the As of q and v are one of rank 4
    again = load_adaptation(changed(tmp_path / "a", use_rslora=True), MODEL)
    assert np.abs(said(MODEL, again) - said(MODEL, rooted)).max() < 1e-12
    again = load_adaptation(changed(tmp_path / "a", use_rslora=False, lora_alpha=12), MODEL)
    assert np.abs(said(MODEL, again) - said(MODEL, rooted)).max() < 1e-12


def test_a_fused_lora_whose_A_fell_apart_is_none(tmp_path):
    model = MODELS["llama"]
    γ = drawn(LoRA(2, targets=r"attn\.[qkv]$", fused=True), model)
    save(γ, tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a/adapter_model.safetensors"
    again = load_adaptation(tmp_path / "a", model)
    assert again.fused and len(again.parameters()) == len(γ.parameters())
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    name = next(n for n in tensors if "k_proj.lora_A" in n)
    save_file(tensors | {name: tensors[name] + 1}, path, metadata)
    again = load_adaptation(tmp_path / "a", model)
    assert not again.fused and len(again.parameters()) == 2 * 3 * model.config.layers


OURS = {  # what PEFT would read as something else
    "two LoRAs of one layer": lambda: Chain(LoRA(2), LoRA(3)),
    "two kinds": lambda: Chain(LoRA(2), DoRA(2, targets=r"mlp\.up$")),
    "LoRAs that drop otherwise": lambda: Chain(LoRA(2), LoRA(2, dropout=0.1, targets="up$")),
    "two LoRAs of c_attn": lambda: Chain(LoRA(2, targets="q$"), LoRA(3, targets="k$")),
    "DoRA of a part of c_attn": lambda: DoRA(2),
    "a part of c_attn kept whole": lambda: Chain(LoRA(2, targets="up$"), FullFineTuning("q$")),
    "a part of c_attn's biases": lambda: Chain(LoRA(2, targets="up$"), BiasTuning(r"attn\.q$")),
    "layers both kept whole and adapted": lambda: Chain(
        LoRA(2, targets="up$"), FullFineTuning("up$")
    ),
    "IA3 of inputs of c_attn": lambda: IA3(r"attn\.[qkv]$", inputs=r"attn\.[qkv]$"),
    "two IA3": lambda: Chain(IA3(r"attn\.[kv]$"), IA3(r"mlp\.up$")),
    "rows among the words": lambda: PseudoTokens("[P]*2 {x} [P]"),
    "IA3 and its biases": lambda: Chain(IA3(), BiasTuning(QKV)),
}


@pytest.mark.parametrize("what", OURS)
def test_what_peft_would_read_otherwise_has_our_names(tmp_path, what):
    γ = drawn(OURS[what](), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert kind(tmp_path / "a").startswith("MINIPEFT_")
    assert np.array_equal(said(MODEL, load_adaptation(tmp_path / "a", MODEL)), said(MODEL, γ))


def test_a_head_without_a_probe_has_no_task(tmp_path):
    model = Classifier(MODEL, C)
    save(drawn(LoRA(2), model), tmp_path / "a")
    assert json.loads((tmp_path / "a/adapter_config.json").read_text())["task_type"] is None
    save(drawn(PromptTuning(2), model), tmp_path / "b")
    assert kind(tmp_path / "b") == "MINIPEFT_PROMPTTUNING"


@pytest.mark.parametrize("bias", [False, True])
def test_a_head_has_the_bias_that_theirs_has(tmp_path, bias):
    """transformers' question answering has one, its GPT-2 classifier has none."""
    spans = SpanClassifier(MODEL, bias=bias)
    γ = drawn(Chain(LoRA(2), Probe()), spans)
    save(γ, tmp_path / "a", dtype=np.float64)
    tensors = load_file(tmp_path / "a/adapter_model.safetensors")
    assert tensors["base_model.model.qa_outputs.bias"].any() == bias
    assert np.array_equal(said(spans, load_adaptation(tmp_path / "a", spans)), said(spans, γ))
    other = SpanClassifier(MODEL, bias=True)
    assert np.array_equal(said(other, load_adaptation(tmp_path / "a", other)), said(spans, γ))
    model = Classifier(MODEL, C, bias=bias)
    save(drawn(Chain(LoRA(2), Probe()), model), tmp_path / "b")
    names = load_file(tmp_path / "b/adapter_model.safetensors").keys()
    assert ("base_model.model.score.bias" in names) == bias


def test_biases_of_a_head_are_no_biases_of_peft(tmp_path):
    model = Classifier(MODEL, C, bias=True)
    γ = drawn(Chain(LoRA(2), BiasTuning("")), model)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert kind(tmp_path / "a") == "MINIPEFT_CHAIN"


def test_there_is_one_way_to_be_as_peft(tmp_path):
    save(drawn(LoRA(2), MODEL), tmp_path / "a")
    with pytest.raises(ValueError, match="compat=True: there is None and 'peft'"):
        load_adaptation(tmp_path / "a", MODEL, compat=True)


@pytest.mark.parametrize("tasks", [1, 3])
def test_a_prompt_of_several_tasks_comes_back(tmp_path, tasks):
    γ = drawn(MultitaskPrompt(4, tasks=tasks, rank=2), MODEL)
    written(γ, tmp_path / "a", without=("num_virtual_tokens",))
    said = json.loads((tmp_path / "a/adapter_config.json").read_text())
    assert (said["peft_type"], said["num_tasks"]) == ("MULTITASK_PROMPT_TUNING", tasks)
    shapes = {n: x.shape for n, x in load_file(tmp_path / "a/adapter_model.safetensors").items()}
    D = GPT2.width
    assert shapes == {
        "prompt_embeddings": (4, D),
        "prefix_task_cols": (tasks, 4, 2),
        "prefix_task_rows": (tasks, 2, D),
    }
    again = load_adaptation(tmp_path / "a", MODEL)
    assert repr(again) == repr(γ)
    ids, who = np.array([[1, 2, 3]] * 3), [tasks - 1, 0, tasks // 2]
    z = MODEL(ids, again.of(who)).data
    assert np.array_equal(z, MODEL(ids, γ.of(who)).data)
    assert tasks == 1 or abs(z[0] - z[1]).max() > 1e-3
    with pytest.raises(CheckpointError, match="prefix_task_cols is .* must be"):
        load_adaptation(written(γ, tmp_path / "a", num_ranks=3), MODEL)
