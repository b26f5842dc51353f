"""Traced attention weights, hidden states and logits of real models are those of Transformers."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

import minipeft as mp
from minipeft.hf.pretrained import BUILT_IN

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers
NETWORKS = {"decoder": "CausalLM", "encoder": "MaskedLM", "seq2seq": "Seq2SeqLM"}


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_are_what_transformers_returns(name):
    model = mp.load(name)
    ids, written = [model.tokenizer.encode("The soup was cold, so she left.").ids], [[0, 5, 6]]
    network = getattr(transformers, f"AutoModelFor{NETWORKS[name]}").from_pretrained(
        BUILT_IN[name], attn_implementation="eager", dtype=torch.float32
    )
    decoder = name == "seq2seq"
    inputs = {"decoder_input_ids": torch.tensor(written)} if decoder else {}
    with torch.no_grad():
        out = network.eval()(
            torch.tensor(ids), output_attentions=True, output_hidden_states=True, **inputs
        )
    steps = mp.trace(model, ids, **({"decoder_ids": written} if decoder else {}))
    stack, prefix = ("encoder.", "encoder_") if decoder else ("", "")
    expected = {f"{stack}blocks.{{}}.attn.softmax": out[f"{prefix}attentions"]}
    expected |= {f"{stack}blocks.{{}}": out[f"{prefix}hidden_states"][1:-1], "head": [out.logits]}
    if decoder:
        expected["decoder.blocks.{}.attn.softmax"] = out.decoder_attentions
        expected["decoder.blocks.{}.cross.softmax"] = out.cross_attentions
    for path, arrays in expected.items():
        for i, array in enumerate(arrays):
            assert np.abs(steps[path.format(i)].value - array.numpy()).max() < 1e-4, path
