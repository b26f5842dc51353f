"""Against transformers and PEFT themselves: the same folders, the same logits, both ways."""

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

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
V, D, L, NV = 61, 32, 2, 5
IDS = np.random.default_rng(0).integers(0, V, (3, 7))


def randomised(network):
    """What is trained is no longer as it was made: no zero and no one hides a mistake."""
    torch.manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    return network.eval()


def theirs(kind=transformers.GPT2LMHeadModel, **settings):
    config = transformers.GPT2Config(
        vocab_size=V, n_positions=40, n_embd=D, n_layer=L, n_head=4, pad_token_id=0, **settings
    )
    return randomised(kind(config))


@pytest.fixture
def base(tmp_path):
    theirs().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def their_logits(network, dtype=torch.float64):
    with torch.no_grad():
        z = network.to(dtype)(input_ids=torch.tensor(IDS)).logits
    return (z[:, -IDS.shape[1] :] if z.ndim == 3 else z).numpy()


def apart(a, b):
    return np.abs(a - b).max()


def agree(network, model, folder=None):
    """Their logits are ours, in float32 and in float64; with the adaptation in a folder, if any."""
    worst = []
    for dtype, single in ((torch.float32, model), (torch.float64, model.astype(np.float64))):
        γ = hf.load_adaptation(folder, single) if folder else mp.PLAIN
        z = single(IDS, γ).data
        worst.append(apart(their_logits(network, dtype), z))
        if folder:  # and the comparison is not empty
            assert apart(z, single(IDS).data) > 1e-2
    print(f"differ by {worst[0]:.1e} in float32, {worst[1]:.1e} in float64")
    assert worst[0] < 1e-4 and worst[1] < 1e-9


@pytest.mark.parametrize("settings", [{}, {"n_inner": 48, "tie_word_embeddings": False}], ids=str)
def test_their_model_is_ours_and_ours_theirs(tmp_path, settings):
    network = theirs(**settings)
    network.save_pretrained(tmp_path / "theirs")
    model = hf.load(tmp_path / "theirs")
    agree(network, model)
    hf.save(model, tmp_path / "ours", dtype=np.float32)
    agree(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours"), model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_halves_are_read_exactly(tmp_path, dtype):
    network = theirs().to(dtype)
    network.save_pretrained(tmp_path / "half")
    model = hf.load(tmp_path / "half")
    assert model.dtype == np.float32
    agree(network, model)


def test_a_base_model_without_head_is_read(tmp_path):
    network = theirs()
    network.transformer.save_pretrained(tmp_path / "bare")  # its names lack "transformer."
    states = hf.load(tmp_path / "bare")(IDS).data
    theirs_too = network.transformer(input_ids=torch.tensor(IDS)).last_hidden_state
    assert apart(theirs_too.detach().numpy(), states) < 1e-4


def test_our_tokenizer_is_theirs(base, tmp_path):
    words = Tokenizer(WordLevel({"a": 0, "good": 1, "film": 2}, unk_token="a"))
    words.pre_tokenizer = Whitespace()
    hf.save(hf.load(base), tmp_path / "ours", words)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert theirs("film a good")["input_ids"] == words.encode("film a good").ids == [2, 0, 1]


# -- BERT ---------------------------------------------------------------------

TYPES = np.random.default_rng(1).integers(0, 2, IDS.shape)
MASK = np.random.default_rng(2).random(IDS.shape) < 0.7
MASK[:, 0] = True


def their_bert(kind, **settings):
    return randomised(
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


def same_bert(network, model):
    """Equal in float32 and float64, at the real tokens."""
    for dtype, ours, most in ((torch.float32, model, 1e-4), (torch.float64, None, 1e-9)):
        ours = ours or model.astype(np.float64)
        given = {"attention_mask": MASK, "token_type_ids": TYPES}
        position = np.maximum(MASK.cumsum(1) - 1, 0)  # theirs counts padding as a position
        given = {name: torch.tensor(x.astype(int)) for name, x in given.items()}
        with torch.no_grad():
            said = network.to(dtype)(
                input_ids=torch.tensor(IDS), position_ids=torch.tensor(position), **given
            )
        theirs = said[0].numpy()
        z = ours(IDS, mask=MASK, token_types=TYPES).data
        assert apart(z[MASK] if z.ndim == 3 else z, theirs[MASK] if z.ndim == 3 else theirs) < most


@pytest.mark.parametrize("settings", [{}, {"intermediate_size": 4 * D, "type_vocab_size": 3}])
def test_their_masked_words_are_ours_and_ours_theirs(tmp_path, settings):
    network = their_bert(transformers.BertForMaskedLM, **settings)
    network.save_pretrained(tmp_path / "theirs")
    model = hf.load(tmp_path / "theirs")
    assert isinstance(model, mp.MaskedLM)
    same_bert(network, model)
    hf.save(model, tmp_path / "ours")
    same_bert(transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "ours"), model)


def test_their_encoder_is_ours_and_ours_theirs(tmp_path):
    network = their_bert(transformers.BertModel)
    network.save_pretrained(tmp_path / "theirs")  # without "bert." in its names
    model = hf.load(tmp_path / "theirs")
    assert type(model) is mp.Encoder
    same_bert(network, model)
    hf.save(model, tmp_path / "ours")
    same_bert(transformers.AutoModel.from_pretrained(tmp_path / "ours"), model)


@pytest.mark.parametrize(
    "kind, head",
    [
        (transformers.BertForSequenceClassification, lambda m: mp.Classifier(m, 3, "cls")),
        (transformers.BertForTokenClassification, lambda m: mp.TokenClassifier(m, 3)),
    ],
)
def test_their_heads_on_bert_are_ours(tmp_path, kind, head):
    network = their_bert(kind, num_labels=3)
    network.classifier.bias.data.zero_()  # ours has none
    network.save_pretrained(tmp_path / "theirs")
    model = head(hf.load(tmp_path / "theirs"))
    score = mp.Tensor(network.classifier.weight.detach().numpy().T.copy())
    same_bert(network, model.map(lambda t: score if t is model.score.W else t))


def test_bert_for_pretraining_is_read_without_its_pairs(tmp_path):
    network = their_bert(transformers.BertForPreTraining)
    network.save_pretrained(tmp_path / "theirs")
    same_bert(network, hf.load(tmp_path / "theirs"))


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
def test_their_adaptation_is_ours(name, base, tmp_path):
    network = transformers.GPT2LMHeadModel.from_pretrained(base)
    adapted = randomised(peft.get_peft_model(network, CONFIGS[name]("CAUSAL_LM")))
    adapted.save_pretrained(tmp_path / "theirs")
    model = hf.load(base)
    agree(loaded(base, tmp_path / "theirs"), model, tmp_path / "theirs")
    γ = hf.load_adaptation(tmp_path / "theirs", model)
    assert apart(their_logits(adapted, torch.float32), model(IDS, γ).data) < 1e-4
    hf.save(γ, tmp_path / "ours")  # and back
    agree(loaded(base, tmp_path / "ours"), model, tmp_path / "ours")


def loaded(base, folder, kind=transformers.GPT2LMHeadModel, **settings):
    """The base with the adaptation of a folder, as PEFT reads it: without a word of warning."""
    network = kind.from_pretrained(base, **settings)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        network = peft.PeftModel.from_pretrained(network, folder)
    assert not [str(w.message) for w in said if "dapter" in str(w.message)]
    assert not [str(w.message) for w in said if "keyword" in str(w.message)]
    return network.eval()


OURS = {
    "prompt": lambda: mp.PromptTuning(NV),
    "prefix": lambda: mp.PrefixTuning(NV),
    "encoded prompt": lambda: mp.Encoded(mp.PromptTuning(NV), mlp_width=8),
    "encoded prefix": lambda: mp.Encoded(mp.PrefixTuning(NV), mlp_width=8),
    "lora": lambda: mp.LoRA(4, 6),
    "lora everywhere": lambda: mp.LoRA(3, 5, targets=r"attn\.[qkvo]$|mlp\.(up|down)$"),
    "lora k o": lambda: mp.LoRA(3, 5, targets=r"attn\.[ko]$"),
    "lora here and there": lambda: mp.LoRA(3, 5, targets=r"0\.attn\.[qv]|1\.attn\.k|1\.mlp\.up"),
}


def trained(γ, model):
    """As if trained: nothing is left of a zero start."""
    rng = np.random.default_rng(3)
    γ.attach(model, rng)
    for p in γ.parameters():
        p.data = p.data + rng.normal(0, 0.2, p.shape).astype(p.dtype)
    return γ


@pytest.mark.parametrize("name", OURS)
def test_our_adaptation_is_theirs(name, base, tmp_path):
    model = hf.load(base)
    γ = trained(OURS[name](), model)
    hf.save(γ, tmp_path / "ours")
    network = loaded(base, tmp_path / "ours")
    agree(network, model, tmp_path / "ours")
    assert apart(their_logits(network, torch.float32), model(IDS, γ).data) < 1e-4


@pytest.mark.parametrize("name", ["prefix", "prompt", "lora c_attn"])
def test_their_classifier_is_ours(name, base, tmp_path):
    kind = transformers.GPT2ForSequenceClassification
    network = kind.from_pretrained(base, num_labels=3, pad_token_id=0)
    adapted = randomised(peft.get_peft_model(network, CONFIGS[name]("SEQ_CLS")))
    adapted.save_pretrained(tmp_path / "theirs")
    model = mp.Classifier(hf.load(base), 3)
    agree(adapted, model, tmp_path / "theirs")


@pytest.mark.parametrize("name", ["prefix", "prompt", "lora", "encoded prefix"])
def test_our_classifier_is_theirs(name, base, tmp_path):
    model = mp.Classifier(hf.load(base), 3)
    γ = trained(mp.Chain(OURS[name](), mp.Probe()), model)
    hf.save(γ, tmp_path / "ours")
    kind = transformers.GPT2ForSequenceClassification
    agree(
        loaded(base, tmp_path / "ours", kind, num_labels=3, pad_token_id=0),
        model,
        tmp_path / "ours",
    )
