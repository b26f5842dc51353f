"""Greedy and beam search give the tokens of transformers 5.23.0, sampling its distributions."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

import minipeft as mp
from minipeft.model.generation_config import GenerationConfig
from minipeft.model.logits import warp

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers
V, N = 31, 9
IDS = np.random.default_rng(0).integers(3, V, (4, 6))
MASK = np.arange(6) >= np.array([0, 2, 5, 1])[:, None]  # padding at the left
IDS = np.where(MASK, IDS, 0)
SIZES = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "vocab_size": V}
NETWORKS = {
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=V, n_positions=40, n_embd=16, n_layer=2, n_head=4)
    ),
    "llama": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=2)
    ),
    "t5": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=V,
            d_model=16,
            d_kv=4,
            d_ff=20,
            num_layers=2,
            num_heads=4,
            num_decoder_layers=2,
            relative_attention_num_buckets=8,
            decoder_start_token_id=0,
        )
    ),
    "bart": lambda: transformers.BartForConditionalGeneration(
        transformers.BartConfig(
            vocab_size=V,
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_ffn_dim=20,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            decoder_ffn_dim=20,
            max_position_embeddings=40,
            decoder_start_token_id=2,
        )
    ),
}
NOISE = {"gpt2": 0.2, "llama": 0.2, "t5": 0.5, "bart": 0.3}  # with it, few tokens are repeated
SETTINGS = [
    {},
    {"eos_token_id": [7, 9, 12]},
    {"repetition_penalty": 1.3, "min_new_tokens": 4},
    {"repetition_penalty": 0.7},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 1, "max_new_tokens": 5},
    {"min_length": 12, "max_length": 13},
    {"forced_eos_token_id": 5, "forced_bos_token_id": 6},
]
BEAMS = [
    {"num_beams": K, "length_penalty": α, "early_stopping": early} | more
    for K, α, early, more in [
        (2, 1.0, False, {}),
        (3, -1.0, True, {"eos_token_id": [7, 9, 12]}),
        (4, 2.0, "never", {"repetition_penalty": 1.3}),
        (4, -0.5, "never", {"min_new_tokens": 3}),
        (3, 0.0, False, {"no_repeat_ngram_size": 2}),
        (4, 2.0, True, {"forced_eos_token_id": 5}),
        (2, 0.6, True, {"forced_bos_token_id": 6, "min_length": 8, "max_length": 14}),
    ]
]


@pytest.fixture(scope="module", params=NETWORKS)
def pair(request, tmp_path_factory):
    """The same network of transformers and of minipeft, in float64."""
    folder = tmp_path_factory.mktemp("oracle")
    torch.manual_seed(3)
    network = NETWORKS[request.param]().double().eval()
    with torch.no_grad():
        for p in (p for p in network.parameters() if p.ndim > 1):
            p.mul_(0.1).add_(NOISE[request.param] * torch.randn_like(p))
    start = network.config.decoder_start_token_id if network.config.is_encoder_decoder else None
    network.generation_config = transformers.GenerationConfig(decoder_start_token_id=start)
    network.save_pretrained(folder)
    return network, folder


def load(folder, settings):
    """Return the model with these settings in its generation_config.json."""
    (folder / "generation_config.json").write_text(json.dumps(settings))
    return mp.load(folder)


def until_end(tokens, eos):
    """Return the tokens of each row up to its end."""
    rows = [row.tolist() for row in tokens]
    return [row[: next((i + 1 for i, t in enumerate(row) if t in eos), None)] for row in rows]


@pytest.mark.parametrize("settings", SETTINGS + BEAMS, ids=str)
def test_tokens_are_those_of_transformers(pair, settings):
    network, folder = pair
    settings = {"eos_token_id": 2, "pad_token_id": 1} | settings
    settings = ({} if "max_length" in settings else {"max_new_tokens": N}) | settings
    model, eos = load(folder, settings), np.atleast_1d(settings["eos_token_id"])
    for ids, mask in batches(model, settings):
        more = {} if mask is None else {"attention_mask": torch.tensor(mask.copy()).long()}
        wanted = network.generate(torch.tensor(ids.copy()), do_sample=False, **settings, **more)
        begin = 1 if model.config.decoder_layers else ids.shape[1]
        wanted = until_end(wanted[:, begin:].numpy(), eos)
        assert until_end(mp.generate(model, ids, mask=mask), eos) == wanted


def batches(model, settings):
    """Yield ids and masks that transformers reads: padding at the right only in an encoder."""
    yield IDS[:1], None
    yield IDS[:2, -1:], None
    if model.config.decoder_layers:
        yield IDS[:, ::-1], MASK[:, ::-1]
        if model.config.positions == "relative":  # transformers' BART counts padding as positions
            yield IDS, MASK
    elif "forced_bos_token_id" not in settings:  # there, padding counts as tokens so far
        yield IDS, MASK


@pytest.mark.parametrize("settings", [SETTINGS[2], SETTINGS[4], *BEAMS[:5]], ids=str)
def test_padding_changes_no_text(pair, settings):
    settings = {"eos_token_id": 2, "max_new_tokens": N} | settings
    model, eos = load(pair[1], settings), np.atleast_1d(settings["eos_token_id"])
    together = until_end(mp.generate(model, IDS, mask=MASK), eos)
    for row, ids, mask in zip(together, IDS, MASK, strict=True):
        assert until_end(mp.generate(model, [ids[mask]]), eos) == [row]


@pytest.mark.parametrize("least", [1, 3])
@pytest.mark.parametrize(
    "settings", [{"temperature": 0.7}, {"top_k": 2}, {"top_p": 0.6}, {"top_k": 9, "top_p": 0.8}]
)
def test_warped_logits_are_those_of_transformers(settings, least):
    z = np.random.default_rng(1).normal(size=(50, V)) * 3
    settings = {"temperature": 1.4} | settings
    kinds = {"temperature": "Temperature", "top_k": "TopK", "top_p": "TopP"}
    wanted = torch.tensor(z)
    for name, value in settings.items():
        more = {} if name == "temperature" else {"min_tokens_to_keep": least}
        kind = getattr(transformers, f"{kinds[name]}LogitsWarper")
        wanted = kind(value, **more)(None, wanted)
    found = warp(z, GenerationConfig(**settings), least)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-12)
