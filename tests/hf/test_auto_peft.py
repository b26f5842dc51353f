"""What PEFT opens by a folder alone, with AutoPeftModel, and how it starts prompts of tasks."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import peft
import torch
from peft.tuners.multitask_prompt_tuning import MultitaskPromptEmbedding

import minipeft as mp
from minipeft.methods.multitask import average_task, task
from tests.support.families import GPT2, LLAMA, attach_random, decoder, nudged
from tests.support.tokenizers import letters

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEFT and transformers
IDS = np.random.default_rng(0).integers(1, 13, (3, 6))
METHODS = {
    "lora": mp.LoRA(2),
    "dora": mp.DoRA(2, targets=r"attn\.[qkv]$"),
    "ia3": mp.IA3(),
    "norms": mp.LayerNormTuning(),
    "prompt": mp.PromptTuning(3, words="b c"),
    "p-tuning": mp.PTuning("[P]*3 {x}"),
    "prefix": mp.PrefixTuning(words="b c"),
    "tasks": mp.MultitaskPrompt(3, words="b c", tasks=2, rank=2),
}


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("name", METHODS)
def test_peft_opens_the_base_by_its_name(tmp_path, family, name):
    base = decoder({"gpt2": GPT2, "llama": LLAMA}[family]).astype(np.float32)
    mp.save(nudged(base), tmp_path / "base", letters())
    model = mp.load(tmp_path / "base")
    γ = attach_random(METHODS[name], model)
    mp.save(γ, tmp_path / "a")
    network = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "a").eval()
    tasks = {"task_ids": torch.tensor([1, 0, 1])} if name == "tasks" else {}
    with torch.no_grad():
        z = network(input_ids=torch.tensor(IDS), **tasks).logits.numpy()
    peft_model = mp.load_adaptation(tmp_path / "a", model, compat="peft")
    ours = (peft_model.of([1, 0, 1]) if tasks else peft_model)(IDS).data
    assert np.abs(z - ours).max() < 1e-4 and np.abs(z[:, -6:] - model(IDS).data).max() > 1e-2


@pytest.mark.parametrize("init", ["AVERAGE_SOURCE_TASKS", "EXACT_SOURCE_TASK"])
def test_a_prompt_for_another_task_starts_as_in_peft(tmp_path, init):
    mp.save(nudged(decoder(GPT2)), tmp_path / "base")
    model = mp.load(tmp_path / "base")
    bank = attach_random(mp.MultitaskPrompt(3, tasks=2, rank=2), model)
    mp.save(bank, tmp_path / "source")
    config = peft.MultitaskPromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=3,
        num_ranks=2,
        prompt_tuning_init=init,
        prompt_tuning_init_task=1,
        prompt_tuning_init_state_dict_path=str(tmp_path / "source/adapter_model.safetensors"),
        token_dim=model.config.width,
        num_transformer_submodules=1,
    )
    W = torch.nn.Embedding.from_pretrained(torch.tensor(np.array(model.tokens.W.data)))
    start = MultitaskPromptEmbedding(config, W)
    want = start(torch.arange(3)[None], torch.tensor([0])).detach().numpy()
    γ = task(bank, 1) if init == "EXACT_SOURCE_TASK" else average_task(bank)
    assert np.allclose(γ.prepended(model.tokens, 1).rows[0].data, want, atol=1e-6)
