"""transformers, PEFT and minipeft compute the same logits with the same folders, both ways."""

import warnings

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import peft
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

import minipeft as mp
from minipeft import hf

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEFT and transformers
V, D, L, NV = 61, 32, 2, 5
IDS = np.random.default_rng(0).integers(0, V, (3, 7))


def add_noise(network):
    """Change every trained number, since zeros and ones could hide a mistake."""
    torch.manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    return network.eval()


def gpt2(kind=transformers.GPT2LMHeadModel, **settings):
    config = transformers.GPT2Config(
        vocab_size=V, n_positions=40, n_embd=D, n_layer=L, n_head=4, pad_token_id=0, **settings
    )
    return add_noise(kind(config))


@pytest.fixture
def base(tmp_path):
    gpt2().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def logits(network, dtype=torch.float64):
    with torch.no_grad():
        z = network.to(dtype)(input_ids=torch.tensor(IDS)).logits
    return (z[:, -IDS.shape[1] :] if z.ndim == 3 else z).numpy()


def distance(a, b):
    return np.abs(a - b).max()


def assert_same_logits(network, model, folder=None):
    """Compare in float32 and float64; ours with the adaptation in a folder, if it is given."""
    worst = []
    for dtype, ours in ((torch.float32, model), (torch.float64, model.astype(np.float64))):
        γ = hf.load_adaptation(folder, ours) if folder else None
        z = ours(IDS, γ).data
        worst.append(distance(logits(network, dtype), z))
        if folder:  # the adaptation has an effect
            assert distance(z, ours(IDS).data) > 1e-2
    print(f"differ by {worst[0]:.1e} in float32, {worst[1]:.1e} in float64")
    assert worst[0] < 1e-4 and worst[1] < 1e-9


@pytest.mark.parametrize("settings", [{}, {"n_inner": 48, "tie_word_embeddings": False}], ids=str)
def test_a_gpt2_is_exchanged(tmp_path, settings):
    network = gpt2(**settings)
    network.save_pretrained(tmp_path / "in")
    model = hf.load(tmp_path / "in")
    assert_same_logits(network, model)
    hf.save(model, tmp_path / "out", dtype=np.float32)
    assert_same_logits(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out"), model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_read_exactly(tmp_path, dtype):
    network = gpt2().to(dtype)
    network.save_pretrained(tmp_path / "half")
    model = hf.load(tmp_path / "half")
    assert model.dtype == np.float32
    assert_same_logits(network, model)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_written_as_torch_does(base, tmp_path, dtype):
    hf.save(hf.load(base), tmp_path / "half", dtype=dtype)
    network = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "half")
    assert network.dtype == getattr(torch, dtype)
    expected = transformers.AutoModelForCausalLM.from_pretrained(base).to(network.dtype)
    pairs = zip(network.parameters(), expected.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)
    assert_same_logits(network, hf.load(tmp_path / "half"))


def test_peft_loads_an_adaptation_in_bfloat16(base, tmp_path):
    model = hf.load(base)
    hf.save(attach_random(mp.LoRA(4, 6), model), tmp_path / "half", dtype="bfloat16")
    assert_same_logits(load_in_peft(base, tmp_path / "half"), model, tmp_path / "half")


def test_a_base_model_without_head_is_read(tmp_path):
    network = gpt2()
    network.transformer.save_pretrained(tmp_path / "bare")  # its names lack "transformer."
    states = hf.load(tmp_path / "bare")(IDS).data
    want = network.transformer(input_ids=torch.tensor(IDS)).last_hidden_state
    assert distance(want.detach().numpy(), states) < 1e-4


def test_transformers_loads_our_tokenizer(base, tmp_path):
    words = Tokenizer(WordLevel({"a": 0, "good": 1, "film": 2}, unk_token="a"))
    words.pre_tokenizer = Whitespace()
    hf.save(hf.load(base), tmp_path / "out", words)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("film a good")["input_ids"] == words.encode("film a good").ids == [2, 0, 1]


# -- BERT ---------------------------------------------------------------------

TYPES = np.random.default_rng(1).integers(0, 2, IDS.shape)
MASK = np.random.default_rng(2).random(IDS.shape) < 0.7
MASK[:, 0] = True


def bert(kind, **settings):
    return add_noise(
        kind(
            transformers.BertConfig(
                vocab_size=V,
                hidden_size=D,
                num_hidden_layers=L,
                num_attention_heads=4,
                max_position_embeddings=40,
                **{"intermediate_size": 48} | settings,
            )
        )
    )


def assert_same_bert(network, model):
    """Compare logits at tokens that are not padding, in float32 and float64."""
    exact = model.astype(np.float64)
    for dtype, ours, limit in ((torch.float32, model, 1e-4), (torch.float64, exact, 1e-9)):
        inputs = {"attention_mask": MASK, "token_type_ids": TYPES}
        position = np.maximum(MASK.cumsum(1) - 1, 0)  # BERT's default counts padding
        inputs = {name: torch.tensor(x.astype(int)) for name, x in inputs.items()}
        with torch.no_grad():
            out = network.to(dtype)(
                input_ids=torch.tensor(IDS), position_ids=torch.tensor(position), **inputs
            )
        want, z = out[0].numpy(), ours(IDS, mask=MASK, token_types=TYPES).data
        assert distance(z[MASK] if z.ndim == 3 else z, want[MASK] if z.ndim == 3 else want) < limit


@pytest.mark.parametrize("settings", [{}, {"intermediate_size": 4 * D, "type_vocab_size": 3}])
def test_a_masked_language_model_is_exchanged(tmp_path, settings):
    network = bert(transformers.BertForMaskedLM, **settings)
    network.save_pretrained(tmp_path / "in")
    model = hf.load(tmp_path / "in")
    assert isinstance(model, mp.MaskedLM)
    assert_same_bert(network, model)
    hf.save(model, tmp_path / "out")
    assert_same_bert(transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out"), model)


def test_an_encoder_is_exchanged(tmp_path):
    network = bert(transformers.BertModel)
    network.save_pretrained(tmp_path / "in")  # without "bert." in its names
    model = hf.load(tmp_path / "in")
    assert type(model) is mp.Encoder
    assert_same_bert(network, model)
    hf.save(model, tmp_path / "out")
    assert_same_bert(transformers.AutoModel.from_pretrained(tmp_path / "out"), model)


@pytest.mark.parametrize(
    "kind, head",
    [
        (transformers.BertForSequenceClassification, lambda m: mp.Classifier(m, 3, "cls")),
        (transformers.BertForTokenClassification, lambda m: mp.TokenClassifier(m, 3)),
    ],
)
def test_heads_on_bert_are_read(tmp_path, kind, head):
    network = bert(kind, num_labels=3)
    network.classifier.bias.data.zero_()  # ours has none
    network.save_pretrained(tmp_path / "in")
    model = head(hf.load(tmp_path / "in"))
    score = mp.Tensor(network.classifier.weight.detach().numpy().T.copy())
    assert_same_bert(network, model.map(lambda t: score if t is model.score.W else t))


def test_bert_for_pretraining_is_read_without_its_head_for_pairs(tmp_path):
    network = bert(transformers.BertForPreTraining)
    network.save_pretrained(tmp_path / "in")
    assert_same_bert(network, hf.load(tmp_path / "in"))


LORAS = {
    "c_attn": {},
    "all of a block": {"target_modules": ["c_attn", "c_proj", "c_fc"]},
    "a pattern": {"target_modules": r".*h\.1\.(attn\.c_attn|mlp\.c_fc)", "use_rslora": True},
    "ranks": {
        "target_modules": ["c_attn", "c_fc"],
        "rank_pattern": {"c_fc": 3},
        "alpha_pattern": {r"h\.0\.mlp\.c_fc": 5},
    },
    "layers": {"target_modules": "all-linear", "exclude_modules": ["attn.c_proj"]},
    "a layer": {"target_modules": ["c_fc", "attn.c_proj"], "layers_to_transform": [1]},
}
CONFIGS = {
    "prompt": lambda task: peft.PromptTuningConfig(task_type=task, num_virtual_tokens=NV),
    "prefix": lambda task: peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=NV),
    "projected prefix": lambda task: peft.PrefixTuningConfig(
        task_type=task, num_virtual_tokens=NV, prefix_projection=True, encoder_hidden_size=16
    ),
} | {
    f"lora {name}": lambda task, settings=settings: peft.LoraConfig(
        task_type=task, r=4, lora_alpha=6, **settings
    )
    for name, settings in LORAS.items()
}


@pytest.mark.parametrize("name", CONFIGS)
def test_an_adaptation_of_peft_is_exchanged(name, base, tmp_path):
    network = transformers.GPT2LMHeadModel.from_pretrained(base)
    adapted = add_noise(peft.get_peft_model(network, CONFIGS[name]("CAUSAL_LM")))
    adapted.save_pretrained(tmp_path / "in")
    model = hf.load(base)
    assert_same_logits(load_in_peft(base, tmp_path / "in"), model, tmp_path / "in")
    γ = hf.load_adaptation(tmp_path / "in", model)
    assert distance(logits(adapted, torch.float32), model(IDS, γ).data) < 1e-4
    hf.save(γ, tmp_path / "out")  # and back
    assert_same_logits(load_in_peft(base, tmp_path / "out"), model, tmp_path / "out")


def load_in_peft(base, folder, kind=transformers.GPT2LMHeadModel, **settings):
    """Return the base with the adaptation in a folder, which PEFT must load without a warning."""
    network = kind.from_pretrained(base, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = peft.PeftModel.from_pretrained(network, folder)
    assert not [str(w.message) for w in caught if "dapter" in str(w.message)]
    assert not [str(w.message) for w in caught if "keyword" in str(w.message)]
    return network.eval()


METHODS = {
    "prompt": lambda: mp.PromptTuning(NV),
    "prefix": lambda: mp.PrefixTuning(NV),
    "encoded prompt": lambda: mp.Encoded(mp.PromptTuning(NV), mlp_width=8),
    "encoded prefix": lambda: mp.Encoded(mp.PrefixTuning(NV), mlp_width=8),
    "lora": lambda: mp.LoRA(4, 6),
    "lora everywhere": lambda: mp.LoRA(3, 5, targets=r"attn\.[qkvo]$|mlp\.(up|down)$"),
    "lora k o": lambda: mp.LoRA(3, 5, targets=r"attn\.[ko]$"),
    "lora here and there": lambda: mp.LoRA(3, 5, targets=r"0\.attn\.[qv]|1\.attn\.k|1\.mlp\.up"),
}


def attach_random(method, model):
    """Return the method attached, with random parameters."""
    rng = np.random.default_rng(3)
    γ = method.attach(model, rng)
    for p in γ.parameters():
        p.data = p.data + rng.normal(0, 0.2, p.shape).astype(p.dtype)
    return γ


@pytest.mark.parametrize("name", METHODS)
def test_peft_loads_an_adaptation(name, base, tmp_path):
    model = hf.load(base)
    γ = attach_random(METHODS[name](), model)
    hf.save(γ, tmp_path / "out")
    network = load_in_peft(base, tmp_path / "out")
    assert_same_logits(network, model, tmp_path / "out")
    assert distance(logits(network, torch.float32), model(IDS, γ).data) < 1e-4


@pytest.mark.parametrize("name", ["prefix", "prompt", "lora c_attn"])
def test_an_adaptation_of_a_classifier_of_peft_is_read(name, base, tmp_path):
    kind = transformers.GPT2ForSequenceClassification
    network = kind.from_pretrained(base, num_labels=3, pad_token_id=0)
    adapted = add_noise(peft.get_peft_model(network, CONFIGS[name]("SEQ_CLS")))
    adapted.save_pretrained(tmp_path / "in")
    model = mp.Classifier(hf.load(base), 3)
    assert_same_logits(adapted, model, tmp_path / "in")


@pytest.mark.parametrize("name", ["prefix", "prompt", "lora", "encoded prefix"])
def test_peft_loads_an_adaptation_of_a_classifier(name, base, tmp_path):
    model = mp.Classifier(hf.load(base), 3)
    γ = attach_random(mp.Chain(METHODS[name](), mp.Probe()), model)
    hf.save(γ, tmp_path / "out")
    kind = transformers.GPT2ForSequenceClassification
    assert_same_logits(
        load_in_peft(base, tmp_path / "out", kind, num_labels=3, pad_token_id=0),
        model,
        tmp_path / "out",
    )
