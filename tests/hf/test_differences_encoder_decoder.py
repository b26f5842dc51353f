"""Where minipeft differs from PEFT with T5 and BART: sections of docs/differences-from-peft.md."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minipeft as mp
from minipeft.hf.peft.prompts import BOTH_STACKS, DECODER_ATTENTION
from tests.support.families import BART, T5, T, V, attach_random, nudged, seq2seq

NV, RNG = 4, np.random.default_rng(0)
IDS, WRITTEN = RNG.integers(1, V, (3, T)), RNG.integers(1, V, (3, 5))
LEFT, LEFT_MASK = np.pad(IDS, ((0, 0), (2, 0))), np.repeat([[0, 0] + [1] * T], 3, 0)
EVEN, ODD = (nudged(seq2seq(replace(T5, layers=L, decoder_layers=L, head_width=4))) for L in (2, 3))
READS_COLUMNS = nudged(seq2seq(BART))


def save(γ, folder):
    """Save γ; return the configuration and the tensors in its folder."""
    mp.save(γ, folder, dtype=np.float64)
    config = json.loads((folder / "adapter_config.json").read_text())
    return config, load_file(folder / "adapter_model.safetensors")


def logits(model, γ, ids=IDS, mask=None):
    return model(ids, γ, decoder_ids=WRITTEN, mask=mask).data


def distance(a, b):
    return np.abs(a - b).max()


def test_half_of_a_prompt_of_an_encoder_decoder_has_no_effect(tmp_path):
    """In an encoder–decoder, PEFT makes twice as many rows of a prompt as there are virtual tokens,
    and never reads the second half. minipeft reads the first half, and saves no second one, with
    `num_transformer_submodules=1`, of which PEFT computes the same. A soft prompt of the decoder,
    or of both stacks, as `PromptTuning(targets="tokens$")`, is saved in minipeft's format.
    """
    γ = attach_random(mp.PromptTuning(NV), EVEN)
    config, tensors = save(γ, tmp_path / "a")
    assert (config["peft_type"], config["num_transformer_submodules"]) == ("PROMPT_TUNING", 1)
    P = tensors["prompt_embeddings"]
    path = tmp_path / "a/adapter_model.safetensors"
    save_file({"prompt_embeddings": np.concatenate([P, 9 * P])}, path)  # as PEFT saves it
    config["num_transformer_submodules"] = 2
    (tmp_path / "a/adapter_config.json").write_text(json.dumps(config))
    again = mp.load_adaptation(tmp_path / "a", EVEN)
    assert np.array_equal(logits(EVEN, again), logits(EVEN, γ))
    assert np.array_equal(save(again, tmp_path / "b")[1]["prompt_embeddings"], P)
    both = attach_random(mp.PromptTuning(NV, targets="tokens$"), EVEN)
    assert save(both, tmp_path / "c")[0]["peft_type"] == "MINIPEFT_PROMPTTUNING"
    assert distance(logits(EVEN, mp.load_adaptation(tmp_path / "c", EVEN)), logits(EVEN, both)) == 0


def test_a_prefix_of_a_decoder_is_read_where_it_was_trained(tmp_path):
    """In an encoder–decoder of 2 × L layers, PEFT's prefix is one of the decoder's self-attention,
    and layer i has block 2 i mod L of the file: if L is even, each of half the blocks is in two
    layers, and the others have no effect. It was trained so, and minipeft reads it so, with and
    without `compat="peft"`; layers with one block share their parameters. Any other prefix, such as
    one of the encoder or of the cross-attention, is saved in minipeft's format.
    """
    method = mp.PrefixTuning(NV, targets=DECODER_ATTENTION)
    γ = attach_random(method, ODD)
    config, tensors = save(γ, tmp_path / "odd")
    assert config["peft_type"] == "PREFIX_TUNING" and config["num_transformer_submodules"] == 2
    blocks = np.split(tensors["prompt_embeddings"], 3, axis=1)
    for layer, n in enumerate((0, 2, 1)):
        own = [p.data for p in γ.at[f"decoder.blocks.{layer}.attn"].values()]
        assert np.array_equal(np.concatenate(own, 1), blocks[n])
    assert distance(logits(ODD, mp.load_adaptation(tmp_path / "odd", ODD)), logits(ODD, γ)) == 0
    γ = attach_random(method, EVEN)
    assert save(γ, tmp_path / "even")[0]["peft_type"] == "MINIPEFT_PREFIXTUNING"
    shared = method.bind(dict.fromkeys(γ.at, γ.at["decoder.blocks.0.attn"]), EVEN)
    config, tensors = save(shared, tmp_path / "shared")
    first, second = np.split(tensors["prompt_embeddings"], 2, axis=1)
    assert config["peft_type"] == "PREFIX_TUNING" and first.all() and not second.any()
    again = mp.load_adaptation(tmp_path / "shared", EVEN)
    assert len(again.parameters()) == 2 and len(γ.parameters()) == 4
    assert distance(logits(EVEN, again), logits(EVEN, shared)) == 0
    everywhere = attach_random(mp.PrefixTuning(NV), ODD)
    assert save(everywhere, tmp_path / "all")[0]["peft_type"] == "MINIPEFT_PREFIXTUNING"


@pytest.mark.parametrize("model", [READS_COLUMNS, EVEN], ids=["bart", "t5"])
def test_padding_of_an_encoder_has_no_positions(tmp_path, model):
    """With left padding, PEFT's input of an encoder is [prompt][padding][text], and transformers'
    BART gives positions to padding with any method. In minipeft the prompt is next to the text, and
    padding has no position.

    *`compat="peft"`: as PEFT.*
    """
    γ = attach_random(mp.PromptTuning(NV), model)
    mp.save(γ, tmp_path / "a", dtype=np.float64)
    peft_model = mp.load_adaptation(tmp_path / "a", model, compat="peft")
    unpadded = logits(model, γ)
    assert distance(logits(model, γ, LEFT, LEFT_MASK), unpadded) < 1e-12
    assert distance(peft_model(IDS, decoder_ids=WRITTEN).data, unpadded) < 1e-12
    assert distance(peft_model(LEFT, decoder_ids=WRITTEN, mask=LEFT_MASK).data, unpadded) > 1e-3


def test_a_prompt_of_several_tasks_may_be_in_both_stacks(tmp_path):
    """PEFT's multitask prompt of an encoder–decoder is in front of both texts; its logits have the
    rows of the decoder's prompt, which its generation leaves out. In minipeft the logits are of the
    text, and the prompt is there in generation, too.

    *`compat="peft"`: as PEFT.*
    """
    method = mp.MultitaskPrompt(NV, tasks=3, rank=2, targets=BOTH_STACKS)
    γ = attach_random(method, EVEN)
    assert save(γ, tmp_path / "own")[0]["peft_type"] == "MINIPEFT_MULTITASKPROMPT"
    r = γ.at["encoder.tokens"]["r"]  # PEFT's is that of both
    γ = method.bind({path: ps | {"r": r} for path, ps in γ.at.items()}, EVEN)
    config, tensors = save(γ, tmp_path / "a")
    assert config["num_transformer_submodules"] == 2 and len(tensors["prompt_embeddings"]) == 2 * NV
    again = mp.load_adaptation(tmp_path / "a", EVEN)
    assert len(again.parameters()) == len(γ.parameters()) == 5
    tasks = [2, 0, 1]
    z = logits(EVEN, γ.of(tasks))
    assert distance(logits(EVEN, again.of(tasks)), z) == 0
    peft_model = mp.load_adaptation(tmp_path / "a", EVEN, compat="peft").of(tasks)
    longer = peft_model(IDS, decoder_ids=WRITTEN).data
    assert longer.shape[1] == NV + z.shape[1] and distance(longer[:, NV:], z) < 1e-12
    half = mp.MultitaskPrompt(NV, tasks=3, rank=2, targets="^encoder.tokens$")
    half = half.bind({"encoder.tokens": γ.at["encoder.tokens"]}, EVEN).of(tasks)
    new = [mp.generate(EVEN, IDS, m, max_new_tokens=8) for m in (γ.of(tasks), half)]
    assert not np.array_equal(*new)
    assert np.array_equal(peft_model.generate(IDS, max_new_tokens=8), new[1])
    loss = EVEN.loss(IDS, WRITTEN, γ.of(tasks)).data
    assert abs(peft_model.loss(IDS, WRITTEN).data - loss) < 1e-12
