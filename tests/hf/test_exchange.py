"""transformers and PEFT load what minipeft saves, for every family, head and method."""

import re
import warnings
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import peft
import torch
import transformers

import minipeft as mp
from minipeft import hf

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEFT and transformers
V, NV, C = 61, 5, 3
IDS = np.random.default_rng(0).integers(1, V, (3, 7))  # 0 is padding

SIZES = {"vocabulary": V, "width": 16, "layers": 2, "heads": 4, "length": 40}
LLAMA = partial(
    mp.Config,
    **SIZES | {"ffn_width": 24, "positions": "rotary", "norm": "rms"},
    activation="silu",
    gated=True,
)
FAMILIES = {
    "gpt2": mp.Config(**SIZES),
    "llama": LLAMA(biases=(), key_heads=2, tied_head=False, rope_theta=500.0),
    "llama 3.1": LLAMA(biases=(), rope_scaling=(8.0, 1.0, 4.0, 16)),
    "llama with biases": LLAMA(tied_head=False),
    "qwen2": LLAMA(biases=("q", "k", "v"), key_heads=2, window=4),
    "mistral": LLAMA(biases=(), key_heads=2, head_width=6, window=4, tied_head=False),
    "bert": mp.BertConfig(**SIZES),
    "roberta": mp.RobertaConfig(**SIZES, position_offset=1, token_types=1),  # id 0 is padding
    "distilbert": mp.DistilBertConfig(**SIZES),
}
LAYERED = "roberta", "distilbert"  # families whose head of texts has a pooler
HEADS = "lm", "classifier", "tags", "spans", "features"
BIASES = mp.methods.BiasTuning
METHODS = {
    "prompt": lambda: mp.PromptTuning(NV),
    "p-tuning": lambda: mp.PTuning(f"[P]*{NV} {{x}}"),
    "prefix": lambda: mp.PrefixTuning(NV),
    "p-tuning v2": lambda: mp.PTuningV2(NV),
    "encoded prefix": lambda: mp.Encoded(mp.PrefixTuning(NV), mlp_width=8),
    "lora": lambda: mp.LoRA(4, 6),
    "lora everywhere": lambda: mp.LoRA(3, 5, targets=r"attn\.[qkvo]$|mlp\.(up|down|gate)$"),
    "lora of embeddings": lambda: mp.LoRA(3, 5, targets=r"^tokens$|attn\.k$"),
    "lora of all tokens": lambda: mp.LoRA(3, 5, targets=r"^(tokens|positions|types)$"),
    "lora with a shared A": lambda: mp.LoRA(3, 5, targets=r"attn\.[qkv]$", fused=True),
    "loras": lambda: mp.Chain(mp.LoRA(4, 6, targets="attn.[qk]"), mp.LoRA(2, 5, targets="mlp.up")),
    "dora": lambda: mp.DoRA(3, 5, targets=r"attn\.[qkv]$|mlp\.down$"),
    "lora and its biases": lambda: mp.Chain(mp.LoRA(3, 5), BIASES(r"attn\.[qkv]$")),
    "lora and all biases": lambda: mp.Chain(
        mp.LoRA(3, 5, targets=r"attn\.[ok]$"), BIASES("^(?!score)")
    ),
    "lora and norms": lambda: mp.Chain(mp.LoRA(3, 5), mp.FullFineTuning(r"ln\d?$|^pooler$")),
    "ia3": lambda: mp.IA3(),
    "ia3 of queries": lambda: mp.IA3(r"attn\.[qo]$", r"attn\.o$"),
    "norms": lambda: mp.LayerNormTuning(),
}


def random_model(family, head):
    """Return a model of ours whose parameters are all random."""
    config, rng = FAMILIES[family], np.random.default_rng(1)
    trunk = mp.Decoder(config, rng) if config.causal else mp.MaskedLM(config, rng)
    if head == "classifier":
        pool = "last" if config.causal else "cls"
        model = mp.Classifier(trunk, C, pool, bias=not config.causal)
    elif head == "features":
        model = mp.Features(trunk) if config.causal else mp.Encoder(config, rng)
        if family == "roberta":  # transformers expects a pooler
            model.pooler = mp.model.bert.Pooler(config, rng)
            model.freeze()
    elif head == "tags":
        model = mp.TokenClassifier(trunk, C, bias=True)
    else:
        model = mp.SpanClassifier(trunk) if head == "spans" else trunk
    noise = lambda t: (t.data + 0.1 * rng.normal(size=t.shape)).astype("f4")
    return model.map(lambda t: mp.Tensor(noise(t)))


def load_in_transformers(folder, family, head):
    """Return the model in a folder, as transformers loads it."""
    kinds = {
        "lm": transformers.AutoModelForCausalLM
        if FAMILIES[family].causal
        else transformers.AutoModelForMaskedLM,
        "classifier": transformers.AutoModelForSequenceClassification,
        "tags": transformers.AutoModelForTokenClassification,
        "spans": transformers.AutoModelForQuestionAnswering,
        "features": transformers.AutoModel,
    }
    return kinds[head].from_pretrained(folder, pad_token_id=0, attn_implementation="eager")


def logits(network):
    """Return the logits, or hidden states, that a model of transformers computes for IDS."""
    with torch.no_grad():
        out = network.eval()(input_ids=torch.tensor(IDS), attention_mask=torch.ones(IDS.shape))
    if "start_logits" in out:
        return torch.stack([out.start_logits, out.end_logits], -1).numpy()
    return (out.logits if "logits" in out else out.last_hidden_state).numpy()


def distance(a, b):
    return np.abs(a - b).max() / max(1, np.abs(b).max() / 10)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_and_minipeft_load_a_saved_model(tmp_path, family, head):
    model = random_model(family, head)
    hf.save(model, tmp_path / "m")
    assert (
        distance(logits(load_in_transformers(tmp_path / "m", family, head)), model(IDS).data) < 1e-4
    )
    again = hf.load(tmp_path / "m")
    assert type(again) is type(model) and again.config == model.config
    for (name, t), (other, u) in zip(model.named_parameters(), again.named_parameters()):
        assert name == other and np.array_equal(t.data, u.data)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_a_lora_of_the_head_of_a_language_model_is_exchanged(tmp_path, family):
    model = random_model(family, "lm")
    hf.save(model, tmp_path / "m")
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=3, target_modules=["lm_head", "q_proj"])
    network = peft.get_peft_model(load_in_transformers(tmp_path / "m", family, "lm"), config)
    for p in network.parameters():
        p.data += 0.1 * p.requires_grad
    network.save_pretrained(tmp_path / "a")  # with lm_head.base_layer.weight
    γ = hf.load_adaptation(tmp_path / "a", model)
    assert distance(logits(network), model(IDS, γ).data) < 1e-4
    hf.save(γ, tmp_path / "b")
    again = peft.PeftModel.from_pretrained(
        load_in_transformers(tmp_path / "m", family, "lm"), tmp_path / "b"
    )
    assert distance(logits(again), model(IDS, γ).data) < 1e-4


@pytest.mark.parametrize(
    "family, head, name", [("bert", "classifier", "pooler"), ("llama", "lm", "mlp")]
)
def test_modules_that_contain_layers_may_be_saved(tmp_path, family, head, name):
    model = random_model(family, head)
    hf.save(model, tmp_path / "m")
    config = peft.LoraConfig(r=3, modules_to_save=[name])
    network = peft.get_peft_model(load_in_transformers(tmp_path / "m", family, head), config)
    for p in network.parameters():
        p.data += 0.1 * p.requires_grad
    network.save_pretrained(tmp_path / "a")
    γ = hf.load_adaptation(tmp_path / "a", model)
    assert distance(logits(network), model(IDS, γ).data) < 1e-4


def pairs():
    """Yield every method on a language model or BERT's classifier, and three on every head."""
    for family, c in FAMILIES.items():
        for head in HEADS:
            main = head == ("lm" if c.causal else "classifier")
            some = [] if head == "lm" else ["prompt", "lora and norms", "ia3"]
            for name in METHODS if main else some:
                missing = "bias" in name and not c.biases
                missing |= "all tokens" in name and not c.token_types
                missing |= family == "distilbert" and bool(re.search("prefix|v2", name))
                missing |= family in LAYERED and "all biases" in name  # the head is saved in full
                if not missing:
                    yield family, head, name


@pytest.mark.parametrize("family, head, name", [*pairs()])
def test_peft_loads_an_adaptation(tmp_path, family, head, name):
    model, rng = random_model(family, head), np.random.default_rng(3)
    hf.save(model, tmp_path / "m")
    method = METHODS[name]()
    method = mp.Chain(method, mp.Probe()) if hasattr(model, "score") else method
    if family in LAYERED and head == "classifier" and name != "lora and norms":
        method = mp.Chain(METHODS[name](), mp.FullFineTuning("^pooler$"), mp.Probe())
    γ = method.attach(model, rng)
    for p in γ.parameters():
        p.data = p.data + rng.normal(0, 0.2, p.shape).astype(p.dtype)
    hf.save(γ, tmp_path / "a")
    network = load_in_transformers(tmp_path / "m", family, head)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        network = peft.PeftModel.from_pretrained(network, tmp_path / "a")
    assert not [w for w in warned if re.search("adapter keys|keyword", str(w.message))]
    z, peft_model = logits(network), hf.load_adaptation(tmp_path / "a", model, compat="peft")
    assert distance(z, peft_model(IDS).data) < 1e-4
    again = hf.load_adaptation(tmp_path / "a", model, resume=True)
    assert repr(again) == repr(γ)
    if "p-tuning" != name:
        assert np.array_equal(model(IDS, again).data, model(IDS, γ).data)
    if head in ("lm", "tags") and "p-tuning" != name:  # where PEFT computes the same
        assert distance(z[:, -IDS.shape[1] :], model(IDS, γ).data) < 1e-4
        assert distance(z[:, -IDS.shape[1] :], model(IDS).data) > 1e-2


@pytest.mark.parametrize("head", ["lm", "classifier"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_peft_loads_a_prompt_of_several_tasks(tmp_path, family, head):
    """Row i of the batch has task tasks[i]."""
    model, tasks = random_model(family, head), [1, 0, 2]
    method = mp.MultitaskPrompt(NV, tasks=3, rank=2)
    method = mp.Chain(method, mp.Probe()) if head == "classifier" else method
    γ = method.attach(model, np.random.default_rng(3))
    for p in γ.parameters():
        p.data = p.data + np.random.default_rng(4).normal(0, 0.2, p.shape).astype(p.dtype)
    hf.save(model, tmp_path / "m")
    hf.save(γ, tmp_path / "a")
    network = peft.PeftModel.from_pretrained(
        load_in_transformers(tmp_path / "m", family, head), tmp_path / "a"
    )
    with torch.no_grad():
        z = network.eval()(input_ids=torch.tensor(IDS), task_ids=torch.tensor(tasks)).logits.numpy()
    peft_model = hf.load_adaptation(tmp_path / "a", model, compat="peft")
    assert distance(z, peft_model.of(tasks)(IDS).data) < 1e-4
    again = hf.load_adaptation(tmp_path / "a", model)
    assert repr(again) == repr(γ)
    assert np.array_equal(model(IDS, again.of(tasks)).data, model(IDS, γ.of(tasks)).data)


@pytest.mark.parametrize("method", [mp.Adapter(3), mp.BitFit(), mp.FullFineTuning()], ids=repr)
def test_peft_refuses_what_it_does_not_have(tmp_path, method):
    model = random_model("gpt2", "lm")
    hf.save(model, tmp_path / "m")
    hf.save(method.attach(model, np.random.default_rng(0)), tmp_path / "a")
    network = load_in_transformers(tmp_path / "m", "gpt2", "lm")
    with pytest.raises((KeyError, ValueError), match="MINIPEFT_"):
        peft.PeftModel.from_pretrained(network, tmp_path / "a")
