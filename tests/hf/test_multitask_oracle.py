"""MULTITASK_PROMPT_TUNING in every family and task that PEFT has it for, both ways."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import peft
import torch
from safetensors.numpy import load_file

import minipeft as mp
from tests.support.oracles.make import add_noise, auto_class, write_base
from tests.support.oracles.table import FAMILIES, NV, PARTS, SEQ2SEQ, B, T, V, possible

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEFT and transformers
TASK_IDS, RNG = [1, 0, 2], np.random.default_rng(0)
IDS, LABELS = RNG.integers(1, V, (B, T)), RNG.integers(1, V, (B, 5))
MASK = (np.arange(T) < [[7], [5], [3]]).astype(int)
TASKS = "CAUSAL_LM", "SEQ_CLS", SEQ2SEQ  # the others: PEFT's forward passes take no task_ids
PAIRS = [(f, t, 1) for f in FAMILIES for t in TASKS if "prompt" in possible(f, t)]
PAIRS += [(family, SEQ2SEQ, 2) for family in ("t5", "bart")]


def labels_of(task):
    if task == SEQ2SEQ:
        return LABELS
    return np.arange(B) if task == "SEQ_CLS" else np.where(MASK, IDS, -100)


def peft_outputs(network, task):
    """Return the logits and the loss, whose gradients are computed."""
    out = network(
        input_ids=torch.tensor(IDS * MASK),
        attention_mask=torch.tensor(MASK),
        task_ids=torch.tensor(TASK_IDS),
        labels=torch.tensor(labels_of(task)),
    )
    out.loss.backward()
    return out.logits.detach().numpy(), float(out.loss.detach())


@pytest.mark.parametrize("family, task, stacks", PAIRS)
def test_a_prompt_of_several_tasks_is_exchanged(tmp_path, family, task, stacks):
    write_base(tmp_path / "base", 1, family, task)
    load = lambda: auto_class(task).from_pretrained(tmp_path / "base", attn_implementation="eager")
    sizes = PARTS[family].get("sizes", {}) | {"num_transformer_submodules": stacks}
    config = peft.MultitaskPromptTuningConfig(
        task_type=task, num_virtual_tokens=NV, num_tasks=3, num_ranks=2, **sizes
    )
    network = add_noise(peft.get_peft_model(load(), config))
    network.save_pretrained(tmp_path / "in")
    want, loss = peft_outputs(network, task)
    model = mp.load(tmp_path / "base")
    peft_model = mp.load_adaptation(tmp_path / "in", model, compat="peft")
    inputs = {"mask": MASK} | (
        {"decoder_ids": model.shift_right(LABELS)} if task == SEQ2SEQ else {}
    )
    z = peft_model.of(TASK_IDS)(IDS * MASK, **inputs).data
    error = abs(z - want).max() / max(1, abs(want).max())
    ours = peft_model.of(TASK_IDS).loss(IDS * MASK, labels_of(task), mask=MASK)
    assert abs(float(ours.data) - loss) < 1e-4 * max(1, loss) and error < 1e-4
    encoder = network.prompt_encoder["default"]
    (γ, *_) = peft_model.adaptation.leaves()
    first = next(iter(γ.at.values()))
    gradients = dict(zip("Pcr", mp.grad(ours, [first[n] for n in "Pcr"])))
    theirs = {"P": encoder.embedding.weight, "c": encoder.prefix_task_cols}
    theirs |= {"r": encoder.prefix_task_rows}
    for name, p in theirs.items():
        g = p.grad.numpy()
        g = g[:NV] if name == "P" else g[:, :NV] if name == "c" else g
        error = abs(gradients[name] - g).max() / max(1e-2, abs(g).max())
        assert error < 1e-3, (name, error)
    mp.save(peft_model, tmp_path / "out")
    again = peft.PeftModel.from_pretrained(load(), tmp_path / "out").eval()
    with torch.no_grad():
        back = again(
            input_ids=torch.tensor(IDS * MASK),
            attention_mask=torch.tensor(MASK),
            task_ids=torch.tensor(TASK_IDS),
            labels=torch.tensor(labels_of(task)),
        ).logits.numpy()
    assert abs(back - want).max() < 1e-4 * max(1, abs(want).max())
    names = load_file(tmp_path / "out/adapter_model.safetensors").keys()
    assert names >= load_file(tmp_path / "in/adapter_model.safetensors").keys()
