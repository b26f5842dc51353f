"""What users of PyTorch and PEFT write out of habit: it works, or one line says what to write."""

import itertools

import numpy as np
import pytest

import minipeft as mp
from minipeft.hf.peft.compat import PeftModel

MODEL = mp.Decoder(
    mp.Config(vocabulary=13, width=8, layers=2, heads=2, length=32), np.random.default_rng(0)
)
IDS, MASK = np.array([[1, 2, 3], [4, 5, 6]]), np.ones((2, 3), bool)
RNG = np.random.default_rng(0)
LORA = mp.LoRA(2).attach(MODEL, RNG)
P = LORA.parameters()


def trainer():
    γ = mp.LoRA(2).attach(MODEL, np.random.default_rng(0))
    return mp.Trainer(MODEL, γ, mp.AdamW(γ.parameters()))


def fit(batches, steps):
    return trainer().fit(batches, steps, progress=False)


SLIPS = {
    "model(ids, mask)": (lambda: MODEL(IDS, MASK), r"of shape \(2, 3\): .* such as mask=mask"),
    "a list of masks": (lambda: MODEL(IDS, MASK.tolist()), "by name, such as mask=mask"),
    "loss(ids, labels, mask)": (lambda: MODEL.loss(IDS, IDS, MASK), "such as mask=mask"),
    "classifier(ids, mask)": (lambda: mp.Classifier(MODEL, 2)(IDS, MASK), "such as mask=mask"),
    "generate(model, ids, 20)": (lambda: mp.generate(MODEL, IDS, 20), "got 20: .*new_tokens=20"),
    "model(ids, model)": (lambda: MODEL(IDS, MODEL), "expected an adaptation, got a Decoder"),
    "merge(γ, model)": (lambda: mp.merge(LORA, MODEL), "expected an adaptation"),
    "model(ids, peft_model)": (
        lambda: MODEL(IDS, PeftModel(MODEL, LORA, "CAUSAL_LM")),
        r"call it, peft_model\(ids",
    ),
    "Each(γ, 3)": (lambda: mp.Each(LORA, 3), "expected an adaptation, got 3"),
    "a list of targets": (lambda: mp.LoRA(targets=["q"]), r"targets=r'attn\\\.\(q\|v\)\$'"),
    "no targets": (lambda: mp.LoRA(targets=None), "must be a regular expression"),
    "LoRA(r=8)": (lambda: mp.LoRA(r=8, lora_alpha=16), "no field 'r'; it has rank, alpha"),
    "target_modules": (
        lambda: mp.LoRA(target_modules=["q"]),
        "it has rank, alpha, dropout, targets",
    ),
    "rank of a text": (lambda: mp.LoRA(rank="8"), "rank='8' must be an integer"),
    "rank of a boolean": (lambda: mp.LoRA(rank=True), "rank=True must be an integer"),
    "a gate of a text": (lambda: mp.PrefixTuning(gate="no"), "gate='no' must be True or False"),
    "a gate of a number": (lambda: mp.PrefixTuning(gate=0.5), "gate=0.5 must be True or False"),
    "fused by a number": (lambda: mp.LoRA(fused=1), "fused=1 must be True or False"),
    "dropout of a text": (lambda: mp.LoRA(dropout="0.1"), "dropout='0.1' must be a finite number"),
    "a method's class": (lambda: mp.Encoded(mp.PrefixTuning), r"such as PrefixTuning\(\)"),
    "attach(model, 0)": (lambda: mp.LoRA().attach(MODEL, 0), r"rng=np\.random\.default_rng\(0\)"),
    "attach(rng, model)": (lambda: mp.LoRA().attach(RNG, MODEL), "needs a model first"),
    "attach to a name": (lambda: mp.LoRA().attach("gpt2", RNG), "first, not 'gpt2'"),
    "a text without tokenizer": (
        lambda: mp.PromptTuning(words="is it").attach(MODEL, RNG),
        r"set model\.tokenizer, or give token ids",
    ),
    "texts as words": (
        lambda: mp.PrefixTuning(words=("is", "it")).attach(MODEL, RNG),
        "must be one text, or token ids",
    ),
    "logits.backward()": (lambda: MODEL(IDS, LORA).backward(), "is not a scalar: sum it"),
    "loss of no adaptation": (lambda: MODEL.loss(IDS, IDS).backward(), r"model\.loss\(ids, labels"),
    "AdamW(model)": (lambda: mp.AdamW(MODEL.parameters()), r"frozen: .*AdamW\(γ\.parameters\(\)\)"),
    "AdamW(γ)": (lambda: mp.AdamW(LORA), r"AdamW\(γ\.parameters\(\)\)"),
    "AdamW(tensor)": (lambda: mp.AdamW(P[0]), "takes a list of tensors"),
    "AdamW(result)": (lambda: mp.AdamW([P[0] * 2]), "not trained"),
    "AdamW(groups)": (lambda: mp.AdamW([{"params": P}]), "takes a list of tensors"),
    "lr=-1": (lambda: mp.AdamW(P, lr=-1), "lr=-1 must be a number of at least 0"),
    "lr of a text": (lambda: mp.AdamW(P, lr="1e-3"), "lr='1e-3' must be a number"),
    "lr=nan": (lambda: mp.AdamW(P, lr=float("nan")), "lr=nan must be a number"),
    "a negative decay": (lambda: mp.AdamW(P, weight_decay=-1), "weight_decay=-1 must be"),
    "betas": (lambda: mp.AdamW(P, betas=(0.9, 1)), r"betas=\(0\.9, 1\) must be"),
    "a learning rate as optimizer": (lambda: mp.Trainer(MODEL, LORA, 1e-3), "must be an AdamW"),
    "no batch": (lambda: fit([], 10), r"10 steps .* there are 0: .* itertools\.cycle\(batches\)"),
    "one batch": (lambda: fit([(IDS, IDS)], 5), "5 steps need as many batches, and there are 1"),
    "an iterator that ends": (lambda: fit(iter([(IDS, IDS)]), 5), "ended after 1 of 5 steps"),
    "negative steps": (lambda: fit([(IDS, IDS)], -1), "steps=-1 must be an integer"),
    "a batch of arrays": (lambda: fit((IDS, IDS), 1), r"a tuple \(ids, labels\), .* ndarray"),
    "a batch of a dict": (lambda: fit([{"ids": IDS}], 1), "a tuple .* not a dict"),
    "model.eval()": (lambda: MODEL.eval(), "dropout is on only where a generator is given"),
    "γ.train()": (lambda: LORA.train(), r"model\(ids, γ, rng=rng\)"),
    "model.generate": (lambda: MODEL.generate(IDS), r"minipeft\.generate\(model, ids, γ\)"),
    "model.cuda()": (lambda: MODEL.cuda(), r"\.to\(\"cuda\"\)"),
    "get_peft_model": (lambda: mp.get_peft_model, r"LoRA\(\)\.attach\(model, rng\)"),
    "a text as ids": (lambda: MODEL(["good"]), r"\[tokenizer\.encode\(text\)\.ids\]"),
    "floats as ids": (lambda: MODEL(IDS * 1.0), r"ids\.astype\(int\)"),
    "one text as ids": (lambda: MODEL([1, 2]), r"write \[ids\]"),
    "Classifier(2, model)": (lambda: mp.Classifier(2, MODEL), "needs a model first"),
    "names of classes": (lambda: mp.Classifier(MODEL, ["a", "b"]), "must be an integer"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_says_what_to_write(slip):
    call, says = SLIPS[slip]
    with pytest.raises((AttributeError, RuntimeError, TypeError, ValueError), match=says) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_chain_of_a_list_is_a_chain():
    prompt = mp.PromptTuning(2).attach(MODEL, RNG)
    pair = mp.Chain([LORA, prompt])
    np.testing.assert_array_equal(MODEL(IDS, pair).data, MODEL(IDS, mp.Chain(LORA, prompt)).data)
    assert mp.Chain([mp.LoRA(), mp.PromptTuning()]) == mp.Chain(mp.LoRA(), mp.PromptTuning())


def test_a_loop_of_pytorch_trains():
    γ = mp.LoRA(2).attach(MODEL, np.random.default_rng(0))
    optimizer, losses = mp.AdamW(γ.parameters(), lr=0.05), []
    for _ in range(5):
        optimizer.zero_grad()
        loss = MODEL.loss(IDS, IDS, γ)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_zero_grad_clears_the_gradients():
    MODEL.loss(IDS, IDS, LORA).backward()
    mp.AdamW(P).zero_grad()
    assert all(p.grad is None for p in P)


def test_a_cycle_of_batches_has_as_many_as_steps():
    assert len(fit(itertools.cycle([(IDS, IDS)]), 3)) == len(fit([(IDS, IDS)] * 3, 3)) == 3


def test_the_gradient_of_one_tensor():
    loss = lambda: MODEL.loss(IDS, IDS, LORA)
    np.testing.assert_array_equal(mp.grad(loss(), P[1])[0], mp.grad(loss(), P)[1])


def test_the_repr_of_a_model_shows_paths_and_shapes():
    head, *lines = repr(MODEL).splitlines()
    assert head == "Decoder: 2,120 parameters" and "  blocks.N.attn.q.W (8, 8) × 2" in lines
    assert "  tokens.W (13, 8)" in lines and len(lines) < 25
    assert repr(MODEL.blocks[0].attn.q) == "Linear: 72 parameters\n  W (8, 8)\n  b (8,)"


def test_the_repr_of_an_adaptation_shows_its_parameters():
    head, *lines = repr(LORA).splitlines()
    assert head == f"{mp.LoRA(2)}: 128 parameters" and str(LORA) == repr(mp.LoRA(2))
    rows = [f"  blocks.N.attn.{path} × 2" for path in ("q.A (8, 2)", "q.B (2, 8)")]
    assert lines[:2] == rows and len(lines) == 4
    assert "  0.blocks.N.attn.q.A (8, 2) × 2" in repr(mp.Chain(LORA, None)).splitlines()
    assert repr(mp.PLAIN) == str(mp.PLAIN) == "PLAIN"
