"""Configurations of PEFT as methods to train; the text of a prompt in its folders."""

import json
from dataclasses import replace as replace_fields

import numpy as np
import pytest

import minipeft as mp
from minipeft.adaptation.chain import MethodChain
from minipeft.autograd.nn import replace
from minipeft.hf import CheckpointError, method_from_config
from minipeft.hf.peft.native import ZerosGenerator
from minipeft.methods import BiasTuning
from tests.support.families import (
    BART,
    BERT,
    GPT2,
    LLAMA,
    C,
    attach_random,
    decoder,
    encoder,
    nudged,
    seq2seq,
)
from tests.support.tokenizers import letters

MODEL = nudged(decoder(GPT2))
DOCUMENT = dict(  # the example in the documentation of PromptEmbedding
    peft_type="PROMPT_TUNING",
    task_type="SEQ_2_SEQ_LM",
    num_virtual_tokens=20,
    token_dim=768,
    num_transformer_submodules=1,
    num_attention_heads=12,
    num_layers=12,
    prompt_tuning_init="TEXT",
    prompt_tuning_init_text="Predict if sentiment of this review is positive, negative or neutral",
    tokenizer_name_or_path="t5-base",
)


@pytest.fixture(scope="module")
def wide():
    """A model of t5-base's shape with 99 words, whose blocks are zeros."""
    config = mp.Config(vocabulary=99, width=768, layers=12, heads=12, length=64, ffn_width=1)
    model = mp.Decoder(config, ZerosGenerator(10**9))
    W = mp.Tensor(np.random.default_rng(0).normal(size=(99, 768)).astype("f4"))
    model = model.map(lambda t: W if t is model.tokens.W else t)
    words = {word: 7 + i for i, word in enumerate(DOCUMENT["prompt_tuning_init_text"].split())}
    tokenizer = letters(5)
    tokenizer.add_tokens([*words])
    model.tokenizer = tokenizer
    return model


def test_the_example_of_the_documentation(wide):
    """(batch_size, total_virtual_tokens) -> (batch_size, total_virtual_tokens, token_dim)"""
    γ = method_from_config(DOCUMENT, wide).attach(wide)
    ids = wide.tokenizer.encode(DOCUMENT["prompt_tuning_init_text"]).ids
    batch_size, total_virtual_tokens = np.resize(ids, (1, 20)).shape
    P = γ.prepended(wide.tokens, batch_size).rows[0].data
    assert P.shape == (batch_size, total_virtual_tokens, 768) and len(ids) < 20
    assert np.array_equal(P[0], wide.tokens.W.data[np.resize(ids, 20)])
    with pytest.raises(CheckpointError, match="token_dim=768 is not supported, only 8; it was"):
        method_from_config(DOCUMENT, MODEL)


def test_the_example_has_the_numbers_of_pefts_prompt_embedding(wide, tmp_path, monkeypatch):
    peft, torch = pytest.importorskip("peft"), pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=wide.tokenizer)
    fast.save_pretrained("t5-base")
    config = peft.PromptTuningConfig(**DOCUMENT)
    shared = torch.nn.Embedding.from_pretrained(torch.tensor(np.array(wide.tokens.W.data)))
    prompt_embedding = peft.PromptEmbedding(config, shared)
    want = prompt_embedding(torch.arange(20).expand(3, 20)).detach().numpy()
    γ = method_from_config(config.to_dict(), wide).attach(wide)
    assert want.shape == (3, 20, 768)
    assert np.array_equal(γ.prepended(wide.tokens, 3).rows[0].data, want)


# -- every type


def config(peft_type, **settings):
    return {"peft_type": peft_type, "task_type": "CAUSAL_LM", "num_virtual_tokens": 3} | settings


TEXT = dict(prompt_tuning_init="TEXT", prompt_tuning_init_text="b c", tokenizer_name_or_path="t5")
PROMPTS = {
    "text": (config("PROMPT_TUNING", **TEXT), mp.PromptTuning(3, "text", "b c")),
    "random": (config("PROMPT_TUNING"), mp.PromptTuning(3, "uniform")),
    "vocabulary": (
        config("PROMPT_TUNING", prompt_tuning_init="SAMPLE_VOCAB"),
        mp.PromptTuning(3, "vocabulary"),
    ),
    "tasks": (
        config("MULTITASK_PROMPT_TUNING", num_tasks=4, num_ranks=2, **TEXT),
        mp.MultitaskPrompt(3, "text", "b c", tasks=4, rank=2),
    ),
    "prefix": (config("PREFIX_TUNING"), mp.PrefixTuning(3)),
    "projected prefix": (
        config("PREFIX_TUNING", prefix_projection=True, encoder_hidden_size=6),
        mp.Encoded(mp.PrefixTuning(3), 6),
    ),
    "p-tuning": (config("P_TUNING"), mp.PTuning("[P]*3 {x}", "mlp", 3)),
    "p-tuning with an LSTM": (
        config("P_TUNING", encoder_reparameterization_type="LSTM", encoder_num_layers=1),
        mp.PTuning("[P]*3 {x}", "lstm", 1),
    ),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_configuration_of_a_prompt_is_a_method(name):
    settings, method = PROMPTS[name]
    assert method_from_config(settings, MODEL) == method
    model = replace(MODEL, tokenizer=letters())
    assert method.attach(model, np.random.default_rng(0)).parameters()


MODELS = {
    "gpt2": MODEL,
    "bert": nudged(encoder(BERT)),
    "llama": nudged(decoder(LLAMA)),
    "classifier": mp.Classifier(MODEL, C),
}
TUNERS = {
    "lora": ("gpt2", mp.LoRA(2, 3, dropout=0.5, targets=r"attn\.[qkv]$", fused=True)),
    "dora": ("llama", mp.DoRA(2, targets=r"(attn\.q|mlp\.up)$")),
    "ranks": ("bert", mp.Chain(mp.LoRA(2, targets=r"q$"), mp.LoRA(3, targets=r"mlp\.up$"))),
    "biases": ("gpt2", mp.Chain(mp.LoRA(2, targets=r"up$"), BiasTuning(r"up$"))),
    "modules": ("llama", mp.Chain(mp.LoRA(2), mp.FullFineTuning(r"^ln$"))),
    "head": ("classifier", mp.Chain(mp.LoRA(2, targets=r"up$"), mp.Probe())),
    "ia3": ("llama", mp.IA3()),
    "norms": ("bert", mp.LayerNormTuning()),
}


@pytest.mark.parametrize("name", TUNERS)
def test_a_configuration_of_other_types_adapts_the_same_layers(tmp_path, name):
    model, method = MODELS[TUNERS[name][0]], TUNERS[name][1]
    γ = attach_random(method, model)
    mp.save(γ, tmp_path / "a")
    read = method_from_config(tmp_path / "a/adapter_config.json", model)
    parts = getattr(read, "methods", (read,))
    assert [type(m) for m in parts] == [type(m) for m in getattr(method, "methods", (method,))]
    again = read.attach(model, np.random.default_rng(0))
    shapes = lambda γ: {(name, p.shape) for name, p in γ.named_parameters()}
    assert shapes(again) == shapes(γ)
    assert (
        isinstance(read, MethodChain)
        or read.targets
        and getattr(read, "dropout", 0) == getattr(method, "dropout", 0)
    )


@pytest.mark.parametrize(
    "settings, says",
    [
        ({}, "peft_type='' must be one of PROMPT_TUNING"),
        (config("PROMPT_TUNING", num_virtual_tokens=None), "needs num_virtual_tokens"),
        (config("PROMPT_TUNING", **TEXT | {"tokenizer_kwargs": {"x": 1}}), "tokenizer_kwargs"),
        (config("PROMPT_TUNING", **TEXT | {"prompt_tuning_init_text": None}), "needs words"),
        (config("PREFIX_TUNING", init_weights="zero"), "init_weights='zero' is not supported"),
        (config("PREFIX_TUNING", num_layers=7), "num_layers=7 .* made for another base"),
        (config("P_TUNING", encoder_hidden_size=5), "encoder_hidden_size=5"),
        (config("LORA", init_lora_weights="eva"), "init_lora_weights='eva' is not supported"),
        (config("LORA", target_modules=["none"]), "no layer matches target_modules"),
        (
            config("MULTITASK_PROMPT_TUNING", prompt_tuning_init="EXACT_SOURCE_TASK"),
            "prompt_tuning_init='EXACT_SOURCE_TASK' .* see the functions of",
        ),
    ],
)
def test_a_setting_that_training_does_not_support_is_named(settings, says):
    with pytest.raises(CheckpointError, match=says):
        method_from_config(settings, MODEL)


def test_the_inputs_that_ia3_scales_are_among_its_targets(tmp_path):
    """PEFT raises an error otherwise: in BART, mlp.down is in both stacks, cross.k in one."""
    model = nudged(seq2seq(replace_fields(BART, decoder_layers=3)))
    mp.save(attach_random(mp.IA3(), model), tmp_path / "a")
    settings = json.loads((tmp_path / "a/adapter_config.json").read_text())
    assert {*settings["feedforward_modules"]} <= {*settings["target_modules"]}


# -- texts in PEFT's folders


@pytest.mark.parametrize(
    "method", [mp.PromptTuning(3, words="b c"), mp.MultitaskPrompt(words="b c")]
)
def test_the_text_of_a_prompt_is_in_pefts_configuration(tmp_path, method):
    mp.save(MODEL, tmp_path / "base", letters())
    model = mp.load(tmp_path / "base")
    γ = method.attach(model, np.random.default_rng(0))
    mp.save(γ, tmp_path / "a")
    path = tmp_path / "a/adapter_config.json"
    settings = json.loads(path.read_text())
    expected = {**TEXT, "tokenizer_name_or_path": str(tmp_path / "base"), "tokenizer_kwargs": None}
    assert {name: settings[name] for name in expected} == expected
    changed = {"tokenizer_name_or_path": "t5-base", "tokenizer_kwargs": {"use_fast": False}}
    path.write_text(json.dumps(settings | changed))
    for compat in (None, "peft"):
        mp.save(mp.load_adaptation(tmp_path / "a", model, compat=compat), tmp_path / "b")
        again = json.loads((tmp_path / "b/adapter_config.json").read_text())
        assert {name: again[name] for name in expected} == expected | changed


def test_a_prompt_without_a_text_or_a_folder_has_none(tmp_path):
    model, found = replace(MODEL, tokenizer=letters()), {}
    for init, words in [("vocabulary", ()), ("uniform", ()), ("text", (1, 2)), ("text", "b c")]:
        γ = mp.PromptTuning(3, init, words).attach(model, np.random.default_rng(0))
        mp.save(γ, tmp_path / "a")
        settings = json.loads((tmp_path / "a/adapter_config.json").read_text())
        assert "prompt_tuning_init_text" not in settings
        found[init, words] = settings["prompt_tuning_init"]
    assert [*found.values()] == ["SAMPLE_VOCAB", "RANDOM", "RANDOM", "RANDOM"]
