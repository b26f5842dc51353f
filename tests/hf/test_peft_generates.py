"""With an adaptation of PEFT, minipeft generates PEFT's tokens: greedily and by beam search."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import peft
import torch

import minipeft as mp
from tests.model.test_generate_oracle import IDS, MASK, NETWORKS, NOISE, until_end

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEFT and transformers
CONFIGS = {
    "lora": lambda task, names: peft.LoraConfig(
        task_type=task, r=3, target_modules=names, init_lora_weights=False
    ),
    "prompt": lambda task, names: peft.PromptTuningConfig(task_type=task, num_virtual_tokens=4),
    "prefix": lambda task, names: peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=4),
}
TARGETS = {
    "gpt2": ["c_attn"],
    "llama": ["q_proj", "v_proj"],
    "t5": ["q", "v"],
    "bart": ["q_proj", "v_proj"],
}
EOS = [7, 9, 12]


@pytest.fixture(params=[f"{f}-{c}" for f in NETWORKS for c in CONFIGS])
def pair(request, tmp_path):
    """A network of PEFT's in float64, and the folders of its base and of its adapter."""
    family, config = request.param.split("-")
    torch.manual_seed(3)
    network = NETWORKS[family]().double().eval()
    with torch.no_grad():
        for p in (p for p in network.parameters() if p.ndim > 1):
            p.mul_(0.1).add_(NOISE[family] * torch.randn_like(p))
    network.save_pretrained(tmp_path / "base")
    task = "SEQ_2_SEQ_LM" if network.config.is_encoder_decoder else "CAUSAL_LM"
    network = peft.get_peft_model(network, CONFIGS[config](task, TARGETS[family])).double().eval()
    with torch.no_grad():
        for p in (p for p in network.parameters() if p.requires_grad):
            p.add_(NOISE[family] * torch.randn_like(p))
    network.save_pretrained(tmp_path / "adapter")
    return network, tmp_path


@pytest.mark.parametrize(
    "how", [{}, {"num_beams": 3, "length_penalty": 1.5}], ids=["greedy", "beams"]
)
def test_tokens_are_those_of_peft(pair, how):
    network, folder = pair
    model = mp.load(folder / "base")
    γ = mp.load_adaptation(folder / "adapter", model)
    settings = {"max_new_tokens": 8, "pad_token_id": 1} | how
    reads = network.config.is_encoder_decoder
    ids, mask = (IDS[:, ::-1].copy(), MASK[:, ::-1].copy()) if reads else (IDS[:1], MASK[:1])
    wanted = network.generate(
        input_ids=torch.tensor(ids),
        attention_mask=torch.tensor(mask).long(),
        do_sample=False,
        eos_token_id=EOS,
        **settings,
    ).numpy()
    new = mp.generate(model, ids, γ, mask=mask, eos=EOS, **settings)
    wanted = wanted[:, 1:] if reads else wanted[:, ids.shape[1] :]
    assert until_end(new, EOS) == until_end(wanted, EOS)
