"""Jobs of PyTorch, with the models of transformers and the methods of PEFT.

Stock is PyTorch as it is.  Tuned has, as minipeft has, an allocator that keeps memory, and fused
GELU and AdamW.
"""

from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, GPT2LMHeadModel, LlamaForCausalLM  # noqa: F401

from ..cases import LR, SIZES, batch, texts


class Adapted(nn.Module):
    """h + W_up gelu(W_down h), for the output h of a layer."""

    def __init__(self, layer, D, b, U, c):
        super().__init__()
        self.layer = layer
        self.D, self.b, self.U, self.c = map(nn.Parameter, (D, b, U, c))

    def forward(self, x):
        h = self.layer(x)
        return h + F.gelu(h @ self.D + self.b, approximate="tanh") @ self.U + self.c


class Probed(nn.Module):
    """A linear head on the mean of the last hidden states of a frozen network."""

    def __init__(self, trunk, W):
        super().__init__()
        self.trunk, self.W = trunk, nn.Parameter(W)

    def forward(self, ids):
        with torch.no_grad():
            h = self.trunk(input_ids=ids).last_hidden_state.mean(1)
        return h @ self.W


def base(size: str, attention: str, tuned: bool = False):
    """Return the network of this size, from the folder of `start`."""
    if tuned:
        from minipeft import keep_memory  # only here: stock PyTorch is on its own

        keep_memory()
    settings = {}
    if SIZES[size].family == "gpt2":
        settings = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        settings |= {"activation_function": "gelu_pytorch_tanh"} if tuned else {}
    return AutoModelForCausalLM.from_pretrained(
        Path(size, "base"), attn_implementation=attention, **settings
    )


def adapt(network, path: Path, method: str):
    """Return the network with the adaptation in a folder; only its parameters are trained."""
    if method == "full":
        return network
    for name, p in network.named_parameters():
        p.requires_grad = method == "bitfit" and name.endswith("bias")
    if method == "bitfit":
        return network
    if method not in ("adapter", "probe"):
        virtual = method in ("prompt", "prefix")
        network = PeftModel.from_pretrained(network, path, is_trainable=not virtual)
        if virtual:  # PEFT refuses is_trainable=True for these
            network.prompt_encoder.requires_grad_()
        return network
    start = load_file(path / "adapter_model.safetensors")
    if method == "probe":
        return Probed(network.base_model, start["score.W"])
    for i, mlp in enumerate(mlps(network)):
        name = "c_proj" if hasattr(mlp, "c_proj") else "down_proj"
        tensors = {n: start[f"blocks.{i}.mlp.down.{n}"] for n in "DbUc"}
        setattr(mlp, name, Adapted(getattr(mlp, name), **tensors))
    return network


def mlps(network) -> list:
    """Return the feed-forward layers of a network."""
    trunk = network.base_model
    return [block.mlp for block in getattr(trunk, "h", None) or trunk.layers]


class Training:
    """Training of a network on one batch."""

    def __init__(self, size, method, labels, attention, tuned=False, compiled=False):
        network = adapt(base(size, attention, tuned), Path(size, method), method)
        self.network, self.method = network.train(), method
        self.ids, self.labels = map(torch.from_numpy, batch(size, method, labels))
        self.trained = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, LR, weight_decay=0.0, fused=tuned or None)
        self.call = torch.compile(network) if compiled else network

    def loss(self):
        """Return the loss of the batch."""
        if self.method == "probe":
            return F.cross_entropy(self.call(self.ids), self.labels)
        return self.call(input_ids=self.ids, labels=self.labels).loss

    def step(self):
        """Take a training step, and return the loss before it."""
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return float(loss.detach())


def train(**case):
    """Return a training step, which returns the loss before it."""
    return Training(**case).step


def forward(size: str, method: str, attention: str, tuned: bool = False):
    """Return a function that computes all logits, and returns one of them."""
    network = adapt(base(size, attention, tuned), Path(size, method), method).eval()
    ids = torch.from_numpy(batch(size, method, "everywhere")[0])

    def run():
        with torch.no_grad():
            return float(network(input_ids=ids).logits[0, -1, 0])

    return run


def generate(size: str, rows: int, new: int, attention: str, tuned: bool = False):
    """Return a function that generates greedily, and returns the sum of the token ids."""
    network, ids = base(size, attention, tuned).eval(), torch.from_numpy(texts(size, rows))
    network.generation_config.eos_token_id = None
    mask = torch.ones_like(ids)

    def run():
        found = network.generate(
            ids, attention_mask=mask, max_new_tokens=new, do_sample=False, pad_token_id=0
        )
        return float(found[:, ids.shape[1] :].sum())

    return run
