"""Folding and merging, and the order in a Chain."""

import numpy as np
import pytest

from minipeft import (
    IA3,
    PLAIN,
    AdamW,
    Cache,
    Chain,
    Classifier,
    Decoder,
    DoRA,
    Each,
    FullFineTuning,
    LoRA,
    Tensor,
    Trainer,
    merge,
    stack,
)
from minipeft.adaptation.merge import fold
from minipeft.adaptation.method import as_adaptation
from minipeft.autograd.ops import reshape
from minipeft.model.heads import Head
from tests.support.families import (
    CLASSIFIERS,
    DECODERS,
    ENCODERS,
    METHODS,
    ON_HOST,
    V,
    attached,
    batch,
    gradients,
    networks,
    one_stack,
)

ENCODED = "encoded", "p-tuning,", "p-tuning by"
LORAS = [name for name in METHODS if name.startswith("lora") and "embeddings" not in name]
IDENTITIES = [*LORAS, "ia3", "bitfit", "random weights", "full", "norms"]
MERGES = ["plain", "dora", *IDENTITIES]


def rng():
    return np.random.default_rng(0)


def some_words(n):
    return tuple(int(w) for w in rng().integers(0, V, n))


@networks
@pytest.mark.parametrize("name", [name for name in METHODS if name.startswith(ENCODED)])
def test_folded_is_live_bit_for_bit(model, name):
    live = attached(name, model)
    ids, labels, mask = batch(model, 5, live)
    encoded = live.parts[0] if isinstance(live, Chain) else live
    folded = fold(encoded)
    for one, other in ((encoded, folded), (Each([encoded] * 5), Each([folded] * 5))):
        assert np.array_equal(model(ids, one, mask=mask).data, model(ids, other, mask=mask).data)
    assert folded.method == encoded.method.method and folded.named_parameters()
    for _ in range(2):  # and may be trained on
        assert len(gradients(model, ids, labels, folded, mask=mask)) == len(folded.parameters())


def from_applied(model, adaptation):
    """How far a merged model is from the model read through the adaptation."""
    ids, _, mask = batch(model, 5, adaptation)
    z = merge(model, adaptation)(ids, mask=mask)
    return np.abs(z.data - model(ids, adaptation, mask=mask).data).max()


@networks
@pytest.mark.parametrize("name", MERGES)
def test_merged_is_applied(model, name):
    before, adaptation = [t.data.copy() for t in model.parameters()], attached(name, model)
    assert from_applied(model, adaptation) <= 1e-12
    new, base = merge(model, adaptation), [t.data for t in model.parameters()]
    assert all(map(np.array_equal, before, base))
    if model in ON_HOST.values():
        old = [*base, *[p.data for p in adaptation.parameters()]]
        assert not any(np.shares_memory(t.data, o) for t in new.parameters() for o in old)
        assert not any(t.data.flags.writeable for t in new.parameters())
    assert not any(t.requires_grad for t in new.parameters())
    assert [path for path, _ in new.modules()] == [path for path, _ in model.modules()]


@networks
def test_merging_follows_a_chain(model):
    for names in (["full", "lora"], ["lora", "lora everywhere"], ["norms", "lora", "plain"]):
        assert from_applied(model, Chain(*[attached(name, model) for name in names])) <= 1e-12


@networks
@pytest.mark.parametrize("name", [n for n in METHODS if n not in [*MERGES, "lora of embeddings"]])
def test_what_is_no_change_of_weights_says_so(model, name):
    with pytest.raises(ValueError, match="can't be merged, since .* Use it with model"):
        merge(model, attached(name, model))


@networks
def test_no_adaptation_is_merged_and_called_as_the_model(model):
    """None is no adaptation everywhere: in calls, losses, caches, merging and heads."""
    ids, labels, mask = batch(model, 3)
    z = model(ids, mask=mask).data
    assert np.array_equal(merge(model, None)(ids, mask=mask).data, z)
    if isinstance(model, Decoder):
        assert np.array_equal(model(ids, None, mask=mask, cache=Cache(None)).data, z)
    assert float(model.loss(ids, labels, None, mask=mask)) == float(
        model.loss(ids, labels, mask=mask)
    )
    assert fold(as_adaptation(None)).parameters() == []
    if isinstance(model, Classifier):
        head = Head(model.score, model.config)
        features = model.features(ids, None, mask=mask)[0].data
        assert np.array_equal(head(features, None).data, head(features).data)


@networks
def test_a_chain_of_none_is_the_model(model):
    lora, (ids, _, mask) = attached("lora", model), batch(model, 2)
    read = lambda adaptation: model(ids, adaptation, mask=mask).data
    assert np.array_equal(read(Chain()), read(None)) and Chain().parameters() == []
    assert np.array_equal(read(Chain(None, lora)), read(lora))


@one_stack
def test_what_must_stand_first_or_last_in_a_chain_says_so(model):
    ids = batch(model, 2)[0]
    for names in (["lora", "dora"], ["bitfit", "dora"], ["lora", "random weights"]):
        first, second = (part(attached(name, model)) for name in names)
        for wrong in ((first, second), (first, Chain(PLAIN, second))):
            says = rf"in a Chain {type(second.method).__name__}\(.* must come before .* both adapt"
            with pytest.raises(ValueError, match=says):
                Chain(*wrong)
        for wrong in ((first, Each(None, second)), (Each(None, first), second)):
            with pytest.raises(ValueError, match="in a Chain .* must come before .* both adapt"):
                Chain(*wrong)
        assert from_applied(model, Chain(second, first)) <= 1e-12
    for after in ("full", "lora of embeddings"):
        pseudo, other = part(attached("p-tuning", model)), part(attached(after, model))
        each = (pseudo, Each(None, other)), (Each(None, pseudo), other)
        for wrong in ((pseudo, other), (Chain(pseudo, PLAIN), other), *each):
            with pytest.raises(
                ValueError,
                match=r"in a Chain PseudoTokens\(.* must come after .* both adapt tokens",
            ):
                Chain(*wrong)
        model(ids, Chain(other, pseudo))
        model(ids, Chain(Each(None, pseudo), attached("norms", model)))


def part(adaptation):
    """The method without the head beside it."""
    return adaptation.parts[0] if isinstance(adaptation, Chain) else adaptation


@pytest.mark.parametrize("name", [name for name in METHODS if name != "plain"])
def test_a_bank_is_read_by_as_many_rows_as_it_has_users(name):
    model = CLASSIFIERS["mean"] if name == "probe" else DECODERS["gpt2"]
    users = stack([attached(name, model, who) for who in range(3)])
    says = r"bank of 3 users and the batch size is [125]: use γ\.of"
    for wrong, B in ((users, 2), (users, 5), (Chain(PLAIN, users), 2), (Each(None, users), 2)):
        ids, labels, mask = batch(model, B)
        with pytest.raises(ValueError, match=says):
            model(ids, wrong, mask=mask)
        trainer = Trainer(model, wrong, AdamW(users.parameters()), micro_batches=2)
        with pytest.raises(ValueError, match=says):
            trainer.step(ids, labels, mask=mask)
    with pytest.raises(ValueError, match="is a bank: merge one of its users"):
        merge(model, users)


@networks
def test_a_mixture_is_not_merged(model):
    with pytest.raises(ValueError, match="merge one of its adaptations"):
        merge(model, Each(attached("lora", model), PLAIN))


def test_a_tied_head_stays_tied():
    model = DECODERS["gpt2"]
    new = merge(model, attached("full", model))
    assert new.head.W is new.tokens.W and len(new.parameters()) == len(model.parameters())
    head = LoRA(rank=2, targets="^head$")
    for torn in (FullFineTuning("^head$"), FullFineTuning("^tokens$"), head, IA3("^head$")):
        with pytest.raises(ValueError, match="shared with another layer"):
            merge(model, torn.attach(model, rng()))
    untied = DECODERS["rotary"]
    assert from_applied(untied, head.attach(untied, rng())) <= 1e-12


@pytest.mark.parametrize("model", [DECODERS["gpt2"], ENCODERS["bert"]], ids=["gpt2", "bert"])
@pytest.mark.parametrize(
    "method",
    [LoRA(2, targets="^head$"), DoRA(2, targets="^head$"), IA3("^head$"), IA3("^head$", "^head$")],
    ids=repr,
)
def test_the_weights_of_a_tied_head_compute_what_is_applied(model, method):
    γ, head = method.attach(model, rng()), model.head
    for p in γ.parameters():
        p.data = p.data + 0.3 * rng().normal(size=p.shape)
    x = Tensor(rng().normal(size=(2, 3, model.config.width)))
    changed = {name: reshape(t, head.tensors()[name].shape) for name, t in γ.merged(head).items()}
    y = head.replace(**changed)(x).data
    assert np.abs(y - γ(head, x).data).max() < 1e-12 < np.abs(y - head(x).data).max()


@networks
def test_a_wrong_merge_is_noticed(model):
    class Unscaled(LoRA):
        def weights(self, layer, A, B):
            return {"W": layer.W + A @ B}

    adaptation = Unscaled(rank=2).attach(model, rng())
    for p in adaptation.parameters():
        p.data = p.data + 0.3
    assert from_applied(model, adaptation) > 0.01


def test_a_lora_of_a_tied_embedding_is_not_merged():
    lora = attached("lora of embeddings", DECODERS["gpt2"])
    with pytest.raises(ValueError, match="shared with another layer"):
        merge(DECODERS["gpt2"], lora)
    untied = DECODERS["rotary"]
    assert from_applied(untied, attached("lora of embeddings", untied)) <= 1e-12


@one_stack
def test_a_fused_lora_has_one_A_for_q_k_and_v(model):
    lora = LoRA(2, targets=r"attn\.[qkvo]$|up$", fused=True).attach(model, rng())
    for n in range(2):
        q, k, v, o = (lora.at[f"blocks.{n}.attn.{part}"]["A"] for part in "qkvo")
        assert q is k is v is not o
    assert lora.at["blocks.0.attn.q"]["A"] is not lora.at["blocks.1.attn.q"]["A"]
