"""Folders in PEFT's format: which layers its settings name, and what it has no format for."""

import dataclasses
import json

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
from tests.support.families import BERT, GPT2, LLAMA, C, attach_random, decoder, encoder, nudged

MODELS = {
    "gpt2": nudged(decoder(GPT2)),
    "llama": nudged(decoder(dataclasses.replace(LLAMA, window=None, biases=()))),
    "bert": nudged(encoder(BERT)),
}
MODEL = MODELS["gpt2"]
QKV = r"attn\.[qkv]$"
families = pytest.mark.parametrize("name", MODELS)


def save_as_peft(γ, folder, tensors=(), without=(), **settings):
    """Save γ without our metadata, with other settings and tensors, or without some settings."""
    save(γ, folder, dtype=np.float64)
    path, file = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    settings = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({name: settings[name] for name in settings if name not in without}))
    save_file(load_file(file) | dict(tensors), file)
    return folder


def peft_type(folder):
    return json.loads((folder / "adapter_config.json").read_text())["peft_type"]


def logits(model, γ):
    return model(np.array([[1, 2, 3, 4]]), γ).data


@pytest.mark.parametrize("name, targets", [("gpt2", QKV), *((n, "") for n in ("llama", "bert"))])
def test_settings_that_are_left_out_have_pefts_defaults(tmp_path, name, targets):
    model = MODELS[name]
    γ = attach_random(LoRA(8, 8, targets=targets or r"attn\.[qv]$"), model)
    γ = γ if name != "gpt2" else attach_random(LoRA(8, 8, targets=QKV, fused=True), model)
    absent = "target_modules", "r", "lora_alpha", "lora_dropout", "bias", "task_type", "use_dora"
    again = load_adaptation(save_as_peft(γ, tmp_path / "a", without=absent), model)
    method = again.method
    assert (method.rank, method.alpha, method.dropout, [*again.at]) == (8, 8, 0, [*γ.at])
    assert np.abs(logits(model, again) - logits(model, γ)).max() < 1e-12


def test_dropout_is_read(tmp_path):
    γ = attach_random(LoRA(2, dropout=0.25), MODEL)
    assert load_adaptation(save_as_peft(γ, tmp_path / "a"), MODEL).method.dropout == 0.25


def test_the_rotary_frequencies_in_an_old_llamas_file_are_ignored(tmp_path):
    save(MODELS["llama"], tmp_path / "m", dtype=np.float64)
    path, ω = tmp_path / "m/model.safetensors", np.ones(2)
    names = [
        f"model.{at}rotary_emb.inv_freq" for at in ("", *[f"layers.{n}.self_attn." for n in (0, 1)])
    ]
    save_file(load_file(path) | dict.fromkeys(names, ω), path)
    assert load(tmp_path / "m").config == MODELS["llama"].config


@families
def test_all_linear_is_every_linear_layer_but_the_head(tmp_path, name):
    model = MODELS[name]
    γ = attach_random(LoRA(2, targets=r"attn\.[qkvo]$|mlp\.|pooler|dense"), model)
    folder = save_as_peft(γ, tmp_path / "a", target_modules="all-linear")
    assert np.abs(logits(model, load_adaptation(folder, model)) - logits(model, γ)).max() < 1e-12


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"lora_bias": True}, "lora_bias=True is not supported"),
        ({"alora_invocation_tokens": [1]}, r"alora_invocation_tokens=\[1\] is not supported"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"layers_to_transform": [0.0]}, "must be numbers of layers"),
        ({"layers_to_transform": 1}, "unexpected tensors, h.0.attn.c_attn"),
        ({"r": 25}, r"rank 25 is larger than h.0.attn.c_attn, which is \(8, 24\)"),
        ({"target_modules": ["ln_1"]}, "h.0.ln_1 has no matrix that could be adapted"),
    ],
)
def test_a_setting_that_is_not_supported_is_named(tmp_path, settings, says):
    folder = save_as_peft(attach_random(LoRA(2), MODEL), tmp_path / "a", **settings)
    with pytest.raises(CheckpointError, match=says):
        load_adaptation(folder, MODEL)


@families
def test_target_modules_are_endings_of_full_names(tmp_path, name):
    """An ending begins after a dot of the module's name in the whole network."""
    model = MODELS[name]
    γ = attach_random(LoRA(2, targets=r"0\.mlp\.up$"), model)
    save(γ, tmp_path / "a")
    (module,) = {
        n.removeprefix("base_model.model.").partition(".lora")[0]
        for n in load_file(tmp_path / "a/adapter_model.safetensors")
    }
    for ending in (module, module.partition(".")[2]):
        folder = change_settings(save_as_peft(γ, tmp_path / ending), target_modules=[ending])
        assert [*load_adaptation(folder, model).at] == ["blocks.0.mlp.up"]
    with pytest.raises(CheckpointError, match="no layer matches"):
        load_adaptation(
            change_settings(folder, target_modules=[module.partition(".")[2][1:]]), model
        )


def test_an_ending_matches_no_other_module(tmp_path):
    """BERT's attention.output.dense ends as output.dense does."""
    model = MODELS["bert"]
    γ = attach_random(LoRA(2, targets=r"mlp\.down$"), model)
    assert [*load_adaptation(save_as_peft(γ, tmp_path / "a"), model).at] == [*γ.at]


def test_pseudo_tokens_in_front_are_a_prompt(tmp_path):
    γ = attach_random(PseudoTokens("[P]*2 [P] {x}"), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert peft_type(tmp_path / "a") == "P_TUNING"
    assert repr(load_adaptation(tmp_path / "a", MODEL)) == repr(γ)
    peft_model = load_adaptation(tmp_path / "a", MODEL, compat="peft")
    assert peft_model(np.array([[1, 2, 3, 4]])).shape[1] == 3 + 4


def test_an_encoded_prefix_is_saved_as_a_prefix(tmp_path):
    γ = attach_random(Encoded(PrefixTuning(4, init="normal"), mlp_width=6), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert peft_type(tmp_path / "a") == "PREFIX_TUNING"
    assert str(load_adaptation(tmp_path / "a", MODEL)) == repr(γ.method.method)


def test_chains_in_chains_are_restored(tmp_path):
    norms = FullFineTuning(r"ln\d?$")
    γ = attach_random(Chain(Chain(LoRA(2), BiasTuning(QKV)), Chain(norms)), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert peft_type(tmp_path / "a") == "LORA"
    assert repr(load_adaptation(tmp_path / "a", MODEL)) == repr(γ)


def test_ia3_of_c_attn_is_that_of_q_k_and_v(tmp_path):
    γ = attach_random(IA3(r"attn\.[qkv]$|mlp\.up$", inputs=r"mlp\.up$"), MODEL)
    folder = save_as_peft(γ, tmp_path / "a")
    l = load_file(folder / "adapter_model.safetensors")[
        "base_model.model.transformer.h.1.attn.c_attn.ia3_l"
    ]
    want = [γ.at[f"blocks.1.attn.{n}"]["l"].data.T for n in "qkv"]
    assert np.array_equal(l, np.concatenate(want))
    assert np.array_equal(logits(MODEL, load_adaptation(folder, MODEL)), logits(MODEL, γ))


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_biases_of_all_layers_are_read_once(tmp_path, name):
    """The bias of a head that is saved belongs to the head; a tied one is in the file twice."""
    model = SpanClassifier(MODEL) if name == "gpt2" else MODELS["bert"]
    parts = [LoRA(2), BiasTuning("^(?!score)"), *[Probe()] * (name == "gpt2")]
    γ = attach_random(Chain(*parts), model)
    again, biases = load_adaptation(save_as_peft(γ, tmp_path / "a", tied(γ)), model), γ.parts[1]
    assert again.parts[1].at.keys() == biases.at.keys()
    z = model(np.array([[1, 2, 3]]), γ).data
    assert np.abs(model(np.array([[1, 2, 3]]), again).data - z).max() < 1e-12


def tied(γ):
    """Return the second copy of a masked language model's bias, which PEFT saves."""
    at = γ.parts[1].at.get("head")
    return {"base_model.model.cls.predictions.decoder.bias": at["b"].data[0]} if at else {}


@pytest.mark.parametrize("targets", [QKV, r"1\.attn\.[qkv]$", r"mlp\.up$", r"0\.mlp\.up$"])
def test_the_targets_of_a_lora_that_is_read_match_its_layers(tmp_path, targets):
    """Attached again, it is at the same layers, and shares as many parameters."""
    γ = attach_random(LoRA(2, targets=targets, fused="attn" in targets), MODEL)
    again = load_adaptation(save_as_peft(γ, tmp_path / "a"), MODEL)
    other = again.method.attach(MODEL, np.random.default_rng(0))
    assert [*other.at] == [*again.at] == [*γ.at]
    assert len(other.parameters()) == len(again.parameters()) == len(γ.parameters())


def test_tensors_that_peft_trained_further_are_kept(tmp_path):
    """After that, B may be non-zero where q meets the A that was v's alone."""
    γ = attach_random(LoRA(2), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a/adapter_model.safetensors"
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    more = {n: x + 1 for n, x in tensors.items() if "lora_B" in n}
    save_file(tensors | more, path, metadata)
    save_file(tensors | more, save_as_peft(γ, tmp_path / "b") / path.name)
    one, other = (load_adaptation(tmp_path / name, MODEL) for name in "ab")
    assert np.abs(logits(MODEL, one) - logits(MODEL, other)).max() < 1e-12


def test_a_field_that_is_left_out_of_our_format_has_its_default(tmp_path):
    γ = attach_random(Adapter(3), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a/adapter_config.json"
    path.write_text(
        json.dumps({n: x for n, x in json.loads(path.read_text()).items() if n != "targets"})
    )
    assert repr(load_adaptation(tmp_path / "a", MODEL)) == repr(γ)


def change_settings(folder, **settings):
    """Change settings in a folder of ours, as another program might; return the folder."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def test_settings_that_were_changed_win_over_our_metadata(tmp_path):
    γ = attach_random(LoRA(2, 3), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    rooted = dataclasses.replace(γ.method, alpha=6).bind(γ.at, MODEL)  # A of rank 4: q's and v's
    again = load_adaptation(change_settings(tmp_path / "a", use_rslora=True), MODEL)
    assert np.abs(logits(MODEL, again) - logits(MODEL, rooted)).max() < 1e-12
    again = load_adaptation(change_settings(tmp_path / "a", use_rslora=False, lora_alpha=12), MODEL)
    assert np.abs(logits(MODEL, again) - logits(MODEL, rooted)).max() < 1e-12


def test_a_fused_lora_whose_As_differ_is_read_unfused(tmp_path):
    model = MODELS["llama"]
    γ = attach_random(LoRA(2, targets=r"attn\.[qkv]$", fused=True), model)
    save(γ, tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a/adapter_model.safetensors"
    again = load_adaptation(tmp_path / "a", model)
    assert again.method.fused and len(again.parameters()) == len(γ.parameters())
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    name = next(n for n in tensors if "k_proj.lora_A" in n)
    save_file(tensors | {name: tensors[name] + 1}, path, metadata)
    again = load_adaptation(tmp_path / "a", model)
    assert not again.method.fused and len(again.parameters()) == 2 * 3 * model.config.layers


NOT_IN_PEFT = {
    "two LoRAs of one layer": lambda: Chain(LoRA(2), LoRA(3)),
    "two kinds": lambda: Chain(LoRA(2), DoRA(2, targets=r"mlp\.up$")),
    "LoRAs with different dropout": lambda: Chain(LoRA(2), LoRA(2, dropout=0.1, targets="up$")),
    "two LoRAs of c_attn": lambda: Chain(LoRA(2, targets="q$"), LoRA(3, targets="k$")),
    "DoRA of a part of c_attn": lambda: DoRA(2),
    "a part of c_attn trained in full": lambda: Chain(LoRA(2, targets="up$"), FullFineTuning("q$")),
    "a part of c_attn's biases": lambda: Chain(LoRA(2, targets="up$"), BiasTuning(r"attn\.q$")),
    "layers both trained in full and adapted": lambda: Chain(
        LoRA(2, targets="up$"), FullFineTuning("up$")
    ),
    "IA3 of inputs of c_attn": lambda: IA3(r"attn\.[qkv]$", inputs=r"attn\.[qkv]$"),
    "two IA3": lambda: Chain(IA3(r"attn\.[kv]$"), IA3(r"mlp\.up$")),
    "pseudo-tokens after the text": lambda: PseudoTokens("[P]*2 {x} [P]"),
    "IA3 and biases": lambda: Chain(IA3(), BiasTuning(QKV)),
}


@pytest.mark.parametrize("name", NOT_IN_PEFT)
def test_what_peft_has_no_format_for_is_saved_in_ours(tmp_path, name):
    γ = attach_random(NOT_IN_PEFT[name](), MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert peft_type(tmp_path / "a").startswith("MINIPEFT_")
    assert np.array_equal(logits(MODEL, load_adaptation(tmp_path / "a", MODEL)), logits(MODEL, γ))


def test_without_a_probe_there_is_no_task_type(tmp_path):
    model = Classifier(MODEL, C)
    save(attach_random(LoRA(2), model), tmp_path / "a")
    assert json.loads((tmp_path / "a/adapter_config.json").read_text())["task_type"] is None
    save(attach_random(PromptTuning(2), model), tmp_path / "b")
    assert peft_type(tmp_path / "b") == "MINIPEFT_PROMPTTUNING"


@pytest.mark.parametrize("bias", [False, True])
def test_a_head_is_saved_with_a_bias_if_transformers_has_one(tmp_path, bias):
    """transformers' question answering has one, its GPT-2 classifier has none."""
    spans = SpanClassifier(MODEL, bias=bias)
    γ = attach_random(Chain(LoRA(2), Probe()), spans)
    save(γ, tmp_path / "a", dtype=np.float64)
    tensors = load_file(tmp_path / "a/adapter_model.safetensors")
    assert tensors["base_model.model.qa_outputs.bias"].any() == bias
    assert np.array_equal(logits(spans, load_adaptation(tmp_path / "a", spans)), logits(spans, γ))
    other = SpanClassifier(MODEL, bias=True)
    assert np.array_equal(logits(other, load_adaptation(tmp_path / "a", other)), logits(spans, γ))
    model = Classifier(MODEL, C, bias=bias)
    save(attach_random(Chain(LoRA(2), Probe()), model), tmp_path / "b")
    names = load_file(tmp_path / "b/adapter_model.safetensors").keys()
    assert ("base_model.model.score.bias" in names) == bias


def test_biases_of_a_head_are_not_in_pefts_format(tmp_path):
    model = Classifier(MODEL, C, bias=True)
    γ = attach_random(Chain(LoRA(2), BiasTuning("")), model)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert peft_type(tmp_path / "a") == "MINIPEFT_CHAIN"


def test_compat_is_none_or_peft(tmp_path):
    save(attach_random(LoRA(2), MODEL), tmp_path / "a")
    with pytest.raises(ValueError, match="compat=True must be None or 'peft'"):
        load_adaptation(tmp_path / "a", MODEL, compat=True)


@pytest.mark.parametrize(
    "method",
    [PrefixTuning(words=(3, 1, 4)), PromptTuning(3, "text", (5, 6)), PseudoTokens("[P]*3 {x}")],
    ids=["prefix", "prompt", "pseudo-tokens"],
)
def test_a_prompt_that_another_program_shortened_has_its_new_length(tmp_path, method):
    γ = attach_random(method, MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    path = change_settings(tmp_path / "a", num_virtual_tokens=2) / "adapter_model.safetensors"
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    rows = load_file(path)["prompt_embeddings"][:2]
    save_file({"prompt_embeddings": rows}, path, metadata)
    again = load_adaptation(tmp_path / "a", MODEL)
    assert again.method.length == 2 and len(again.parameters()[0].data) == 2
    assert again.method.attach(MODEL, np.random.default_rng(0)).parameters()[0].shape[0] == 2
    first = again.parameters()[0].data
    assert np.array_equal(first, rows[:, : first.shape[1]])


@pytest.mark.parametrize("tasks", [1, 3])
def test_a_prompt_of_several_tasks_is_restored(tmp_path, tasks):
    γ = attach_random(MultitaskPrompt(4, tasks=tasks, rank=2), MODEL)
    save_as_peft(γ, tmp_path / "a", without=("num_virtual_tokens",))
    settings = json.loads((tmp_path / "a/adapter_config.json").read_text())
    assert (settings["peft_type"], settings["num_tasks"]) == ("MULTITASK_PROMPT_TUNING", tasks)
    shapes = {n: x.shape for n, x in load_file(tmp_path / "a/adapter_model.safetensors").items()}
    D = GPT2.width
    assert shapes == {
        "prompt_embeddings": (4, D),
        "prefix_task_cols": (tasks, 4, 2),
        "prefix_task_rows": (tasks, 2, D),
    }
    again = load_adaptation(tmp_path / "a", MODEL)
    assert repr(again) == repr(γ)
    ids, tasks_of_rows = np.array([[1, 2, 3]] * 3), [tasks - 1, 0, tasks // 2]
    z = MODEL(ids, again.of(tasks_of_rows)).data
    assert np.array_equal(z, MODEL(ids, γ.of(tasks_of_rows)).data)
    assert tasks == 1 or abs(z[0] - z[1]).max() > 1e-3
    with pytest.raises(CheckpointError, match="prefix_task_cols has shape .* must have"):
        load_adaptation(save_as_peft(γ, tmp_path / "a", num_ranks=3), MODEL)
