"""# Where minipeft differs from PEFT

minipeft computes what the papers define, also with an adaptation that PEFT trained. If that
adaptation depends on what PEFT computes differently, load it with
`load_adaptation(folder, model, compat="peft")`. That returns a `PeftModel`, which computes the
numbers of PEFT 0.21.2: `peft_model(ids, mask=mask)`, `peft_model.loss(ids, labels)` and
`peft_model.generate(ids)`. Each section of this page is a test in `tests/hf/test_differences*.py`;
`tests/hf/test_fixed_oracle.py` and `tests/hf/test_matrix.py` compare the numbers with PEFT's.
"""

import inspect
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minipeft as mp
from minipeft.hf import PeftModel
from tests.hf import test_differences_encoder_decoder as encoder_decoders
from tests.support.families import BERT, GPT2, LLAMA, C, T, V, decoder, encoder, nudged

PAGE = Path(__file__).parents[2] / "docs" / "differences-from-peft.md"
NV, RNG = 4, np.random.default_rng(0)
MODEL, WINDOWED = nudged(decoder(GPT2)), nudged(decoder(LLAMA))
ENCODER = nudged(encoder(BERT))
IDS = RNG.integers(1, V, (3, T))
LEFT, RIGHT = (np.hstack(x) for x in ([IDS[:, :2] * 0, IDS], [IDS, IDS[:, :2] * 0]))
LEFT_MASK, RIGHT_MASK = (
    np.repeat([[*a, *b]], 3, 0) for a, b in ([[0, 0], [1] * T], [[1] * T, [0, 0]])
)

TUNERS = mp.LoRA(2), mp.PromptTuning(NV), mp.PrefixTuning(NV)


@pytest.fixture
def load_both(tmp_path):
    """load_both(method, model): an adaptation as it is loaded by default, and as a PeftModel."""

    def load(method, model):
        method = mp.Chain(method, mp.Probe()) if hasattr(model, "score") else method
        γ = method.attach(model, np.random.default_rng(1))
        for p in γ.parameters():
            p.data = p.data + 0.3 * RNG.normal(size=p.shape)
        mp.save(γ, tmp_path / "a", dtype=np.float64)
        return [mp.load_adaptation(tmp_path / "a", model, compat=c) for c in (None, "peft")]

    return load


def distance(a, b):
    return np.abs(a - b).max()


# -- prompts


def test_padding_is_before_a_prompt_not_after_it(load_both):
    """With left padding, PEFT's input is [prompt][padding][text], and padding takes positions, so
    the logits of a text depend on the amount of padding. In minipeft it is [padding][prompt][text]:
    the prompt is next to the text, and padding has no effect.
    """
    γ, peft_model = load_both(mp.PromptTuning(NV), MODEL)
    unpadded = MODEL(IDS, γ).data
    assert distance(MODEL(LEFT, γ, mask=LEFT_MASK).data[:, 2:], unpadded) < 1e-12
    assert distance(peft_model(LEFT, mask=LEFT_MASK).data[:, -T:], unpadded) > 1e-2
    assert distance(peft_model(IDS).data[:, -T:], unpadded) < 1e-12  # equal without padding


def test_generation_with_a_prompt_does_not_depend_on_padding(load_both):
    """For the same reason, the text that PEFT generates with a prompt depends on left padding. In
    minipeft it does not.
    """
    γ, peft_model = load_both(mp.PromptTuning(NV), MODEL)
    new = {"max_new_tokens": 12}
    unpadded = mp.generate(MODEL, IDS, γ, **new)
    assert np.array_equal(mp.generate(MODEL, LEFT, γ, mask=LEFT_MASK, **new), unpadded)
    padded = peft_model.generate(LEFT, mask=LEFT_MASK, **new)
    assert not np.array_equal(padded, peft_model.generate(IDS, **new))


@pytest.mark.parametrize("model", [MODEL, mp.TokenClassifier(ENCODER, C), mp.Features(WINDOWED)])
def test_virtual_tokens_have_no_logits(load_both, model):
    """PEFT returns logits and hidden states also for the virtual tokens, so they are longer than
    the labels. minipeft returns those of the text.
    """
    γ, peft_model = load_both(mp.PromptTuning(NV), model)
    z, longer = model(IDS, γ).data, peft_model(IDS).data
    assert z.shape[1] == T and longer.shape[1] == NV + T
    assert distance(longer[:, NV:], z) < 1e-12


def test_the_first_token_is_not_predicted_from_a_prompt(load_both):
    """PEFT's loss includes the prediction of the text's first token by the last virtual token,
    unless the label is -100. In minipeft nothing predicts the first token, also with a prompt.
    """
    γ, peft_model = load_both(mp.PromptTuning(NV), MODEL)
    labels = np.hstack([IDS[:, :1] * 0 - 100, IDS[:, 1:]])  # without the first token
    loss = MODEL.loss(IDS, IDS, γ).data
    assert loss == MODEL.loss(IDS, labels, γ).data
    assert distance(loss, peft_model.loss(IDS, labels).data) < 1e-12
    z = peft_model(IDS).data[:, NV - 1]
    first = np.log(np.exp(z).sum(1)) - z[np.arange(3), IDS[:, 0]]
    with_first = (loss * (T - 1) * 3 + first.sum()) / (T * 3)
    assert distance(peft_model.loss(IDS, IDS).data, with_first) < 1e-12


def test_token_classification_has_labels_with_a_prompt(load_both):
    """PEFT's token classification with a prompt raises an error for all labels, since there are
    fewer labels than logits. In minipeft both are of the text.
    """
    model = nudged(mp.TokenClassifier(MODEL, C))
    γ, peft_model = load_both(mp.PromptTuning(NV), model)
    assert np.isfinite(model.loss(IDS, IDS % C, γ).data)
    with pytest.raises(ValueError, match=rf"shape \(3, {T}\), .* \(3, {NV + T}\)"):
        peft_model.loss(IDS, IDS % C)


def test_answers_are_columns_of_the_text(load_both):
    """In PEFT's question answering with a prompt, labels count the virtual tokens: with 4 of them,
    column 3 is the last virtual token. In minipeft labels are columns of the text.
    """
    model = nudged(mp.SpanClassifier(MODEL))
    γ, peft_model = load_both(mp.PromptTuning(NV), model)
    labels = np.array([[0, 2], [1, 1], [2, 3]])
    loss = peft_model.loss(IDS, labels).data
    z = peft_model(IDS).data
    p = z - np.log(np.exp(z).sum(1, keepdims=True))
    want = -np.mean([p[i, c, k] for i, row in enumerate(labels) for k, c in enumerate(row)])
    assert distance(loss, want) < 1e-12 and distance(model.loss(IDS, labels, γ).data, want) > 1e-2


def test_an_encoder_pools_a_token_of_the_text(load_both):
    """With a prompt, an encoder in PEFT classifies a text by the hidden state of the first virtual
    token. minipeft classifies it by that of [CLS].
    """
    model = nudged(mp.Classifier(ENCODER, C, "cls", bias=True))
    γ, peft_model = load_both(mp.PromptTuning(NV), model)
    W, b = (p.data for p in γ.parts[1].at["score"].values())
    pooled = lambda h: np.tanh(h @ model.pooler.W.data + model.pooler.b.data) @ W + b
    features = mp.Features(model)
    h, longer = features(IDS, γ).data, PeftModel(features, γ)(IDS).data
    assert distance(model(IDS, γ).data, pooled(h[:, 0])) < 1e-12
    assert distance(peft_model(IDS).data, pooled(longer[:, 0])) < 1e-12
    assert distance(longer[:, NV:], h) < 1e-12


def test_a_decoder_pools_a_token_of_the_text(load_both):
    """With a prompt, PEFT's GPT-2 and Llama classify a text by its last column, even if that is
    padding. minipeft classifies it by its last token.
    """
    model = nudged(mp.Classifier(WINDOWED, C))
    γ, peft_model = load_both(mp.PromptTuning(NV), model)
    unpadded = model(IDS, γ).data
    assert distance(model(RIGHT, γ, mask=RIGHT_MASK).data, unpadded) < 1e-12
    assert distance(peft_model(RIGHT, mask=RIGHT_MASK).data, unpadded) > 1e-2


# -- padding, in the heads of transformers


def test_padding_is_not_pooled(load_both):
    """Classifiers on encoders of transformers pool the first column, with any method of PEFT. With
    left padding that is a [PAD]. minipeft pools the first token that is not padding.
    """
    model = nudged(mp.Classifier(ENCODER, C, "cls", bias=True))
    γ, peft_model = load_both(mp.LoRA(2), model)
    unpadded = model(IDS, γ).data
    assert distance(model(LEFT, γ, mask=LEFT_MASK).data, unpadded) < 1e-12
    assert distance(peft_model(LEFT, mask=LEFT_MASK).data, unpadded) > 1e-2


def test_padding_has_no_positions(load_both):
    """Without `position_ids`, a forward pass of GPT-2 or BERT in transformers gives positions to
    padding, so with any method of PEFT the logits of a text depend on left padding. In minipeft
    they do not. With prompts and in question answering, where PEFT drops `position_ids`,
    `compat="peft"` is as PEFT; elsewhere it computes what PEFT computes if `position_ids` count
    tokens only, as `generate` passes them.
    """
    γ, lora = load_both(mp.LoRA(2), MODEL)
    unpadded = MODEL(IDS, γ).data
    assert distance(MODEL(LEFT, γ, mask=LEFT_MASK).data[:, 2:], unpadded) < 1e-12
    assert distance(lora(LEFT, mask=LEFT_MASK).data[:, 2:], unpadded) < 1e-12
    W = MODEL.positions.W.data
    assert distance(W[2 : T + 2], W[:T]) > 1e-2  # the embeddings of columns are other ones


@pytest.mark.parametrize("method", TUNERS[::2], ids=repr)
def test_padding_has_no_positions_in_question_answering(load_both, method):
    """PEFT's question answering drops `position_ids`: padding has positions. Here it has none."""
    model = nudged(mp.SpanClassifier(MODEL))
    γ, peft_model = load_both(method, model)
    unpadded, z = model(IDS, γ).data, peft_model(LEFT, mask=LEFT_MASK).data[:, 2:]
    assert distance(model(LEFT, γ, mask=LEFT_MASK).data[:, 2:], unpadded) < 1e-12
    W = model.positions.W  # two rows earlier, it has those of the columns after two of padding
    moved = model.map(lambda t: mp.Tensor(np.roll(t.data, -2, axis=0)) if t is W else t)
    assert distance(z, moved(IDS, γ).data) < 1e-12 and distance(z, unpadded) > 1e-2


@pytest.mark.parametrize("method", TUNERS, ids=repr)
@pytest.mark.parametrize("head", [mp.SpanClassifier, mp.Features])
def test_token_types_are_read_for_every_task(load_both, head, method):
    """PEFT drops token types in question answering, with any method, and in feature extraction
    with prompts and prefixes: both texts of a pair are read as the first. In minipeft each token
    has its type.
    """
    model = head(ENCODER)
    γ, peft_model = load_both(method, model)
    z, typed = (model(IDS, γ, token_types=types).data for types in (None, IDS % 2))
    drops = head is mp.SpanClassifier or method is not TUNERS[0]
    pefts = peft_model(IDS, token_types=IDS % 2).data[:, -T:]
    assert distance(typed, z) > 1e-2 and distance(pefts, z if drops else typed) < 1e-12


def test_labels_of_padding_are_ignored(load_both):
    """A label of a padding token counts in the losses of transformers, unless it is -100. minipeft
    ignores it.
    """
    model = nudged(mp.TokenClassifier(WINDOWED, C))
    γ, peft_model = load_both(mp.LoRA(2), model)
    unpadded, labels = model.loss(IDS, IDS % C, γ).data, RIGHT % C
    assert distance(model.loss(RIGHT, labels, γ, mask=RIGHT_MASK).data, unpadded) < 1e-12
    assert distance(peft_model.loss(RIGHT, labels, mask=RIGHT_MASK).data, unpadded) > 1e-2


def test_padding_is_not_an_answer(load_both):
    """In question answering, transformers' probabilities of the start and the end of an answer
    include padding. In minipeft they do not.
    """
    model = nudged(mp.SpanClassifier(MODEL))
    γ, peft_model = load_both(mp.LoRA(2), model)
    labels = np.array([[0, 2], [1, 1], [2, 3]])
    unpadded = model.loss(IDS, labels, γ).data
    assert distance(model.loss(RIGHT, labels, γ, mask=RIGHT_MASK).data, unpadded) < 1e-12
    assert distance(peft_model.loss(RIGHT, labels, mask=RIGHT_MASK).data, unpadded) > 1e-2


# -- methods


def test_the_norm_in_dora_has_a_gradient(load_both):
    """PEFT's DoRA treats the norm as a constant in the backward pass, which Liu et al. 2024, §4.3,
    propose to save memory. minipeft computes the gradient of the equation.
    """
    γ, peft_model = load_both(mp.DoRA(2, targets=r"attn\.[qkv]$"), MODEL)
    A, _, m = γ.parameters()[:3]
    ours = mp.grad(MODEL.loss(IDS, IDS, γ), [A, m])
    pefts = mp.grad(peft_model.loss(IDS, IDS), [peft_model.parameters()[i] for i in (0, 2)])
    assert distance(MODEL.loss(IDS, IDS, γ).data, peft_model.loss(IDS, IDS).data) < 1e-12
    assert distance(ours[1], pefts[1]) < 1e-12 and distance(ours[0], pefts[0]) > 1e-6
    step, start = 1e-6 * RNG.normal(size=A.shape), A.data
    losses = []
    for sign in (1, -1):
        A.data = start + sign * step
        losses.append(MODEL.loss(IDS, IDS, γ).data)
    A.data = start
    increase = (losses[0] - losses[1]) / 2
    assert abs(increase - (ours[0] * step).sum()) < 1e-4 * abs(increase)
    assert abs(increase - (pefts[0] * step).sum()) > 1e-3 * abs(increase)


def test_a_prefix_of_zeros_changes_the_output():
    """PEFT documents a prefix of zeros (`init_weights="zero"`) as a start that changes nothing. But
    a key of 0 has the score 0, and so takes part of the attention. minipeft has no such start.
    """
    method = mp.PrefixTuning(NV, init="normal", shift_positions=False)
    prefix = method.attach(MODEL, np.random.default_rng(0))
    for p in prefix.parameters():
        p.data = np.zeros_like(p.data)
    assert distance(MODEL(IDS, prefix).data, MODEL(IDS).data) > 1e-2


def test_prompts_and_prefixes_start_from_words():
    """PEFT starts prompts and prefixes from N(0, 1), P-tuning with an MLP, and LoRA's A from a
    uniform distribution. minipeft follows the papers: prompts start from embeddings of words,
    prefixes from keys and values of words, P-tuning has an LSTM, and A is Gaussian.
    """
    rng = np.random.default_rng(0)
    (P,) = mp.PromptTuning(NV).attach(MODEL, rng).parameters()
    assert all((MODEL.tokens.W.data == row).all(1).any() for row in P.data)
    prefix, cache = mp.PrefixTuning(words=(3, 1, 4)).attach(MODEL, rng), mp.Cache()
    MODEL.states(np.array([[3, 1, 4]]), cache=cache)
    for path, ps in prefix.at.items():
        k, v = cache.kv[path].rows
        assert np.array_equal(ps["P_key"].data, k.data[0])
        assert np.array_equal(ps["P_value"].data, v.data[0])
    assert mp.PTuning().encoder == "lstm"
    A = mp.LoRA(rank=64).attach(mp.load(), rng).parameters()[0].data
    assert (abs(A) > A.shape[0] ** -0.5).mean() > 0.2  # a uniform A has none beyond ±1/√in


def test_q_and_v_have_an_A_each(tmp_path):
    """In PEFT, q, k and v of GPT-2 are one module, c_attn: they share one A, and (IA)³ also scales
    q. In minipeft LoRA adapts q and v, each with its own A, and (IA)³ scales k and v. The As are
    joined in PEFT's format; q, k and v of an adaptation that PEFT trained share one.
    """
    lora = mp.LoRA(2).attach(MODEL, np.random.default_rng(0))
    assert len(lora.parameters()) == 2 * 2 * GPT2.layers
    for p in lora.parameters():
        p.data = RNG.normal(size=p.shape)
    mp.save(lora, tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a/adapter_model.safetensors"
    tensors = load_file(path)
    assert {x.shape for n, x in tensors.items() if "lora_A" in n} == {(4, GPT2.width)}
    save_file(tensors, path)  # without our metadata, as PEFT writes it
    fused = mp.load_adaptation(tmp_path / "a", MODEL)
    assert len(fused.parameters()) == (1 + 3) * GPT2.layers
    assert distance(MODEL(IDS, fused).data, MODEL(IDS, lora).data) < 1e-12
    assert [*mp.IA3().attach(MODEL).at][:2] == ["blocks.0.attn.k", "blocks.0.attn.v"]


# -- folders and batches


def test_a_reparametrisation_network_is_saved(tmp_path):
    """PEFT saves the output of a reparametrisation network and not the network, so training of
    P-tuning or a projected prefix can't continue. minipeft saves the network in a second file,
    which `resume=True` reads.
    """
    γ = mp.PTuning(f"[P]*{NV} {{x}}", layers=1).attach(MODEL, np.random.default_rng(0))
    mp.save(γ, tmp_path / "a", dtype=np.float64)
    again = mp.load_adaptation(tmp_path / "a", MODEL, resume=True)
    assert type(again.method) is mp.PTuning
    pairs = zip(again.parameters(), γ.parameters(), strict=True)
    assert all(np.array_equal(p.data, q.data) for p, q in pairs)


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_missing_and_unexpected_tensors_are_errors(tmp_path, change):
    """PEFT warns of missing tensors, which keep their initial values, and ignores unexpected ones.
    minipeft raises an error in both cases.
    """
    mp.save(mp.LoRA(2).attach(MODEL, np.random.default_rng(0)), tmp_path / "a")
    path = tmp_path / "a/adapter_model.safetensors"
    tensors = load_file(path)
    x = tensors.pop(next(iter(tensors)))
    save_file(tensors if change == "missing" else load_file(path) | {"x": x}, path)
    with pytest.raises(mp.CheckpointError, match=change):
        mp.load_adaptation(tmp_path / "a", MODEL)


def test_rows_of_a_batch_may_have_any_methods(load_both):
    """PEFT can mix LoRAs in a batch, for inference; with other methods it uses one for all rows
    without a warning. minipeft mixes any methods, also in training.
    """
    lora, _ = load_both(mp.LoRA(2), MODEL)
    prompt, _ = load_both(mp.PromptTuning(NV), MODEL)
    z = MODEL(IDS, mp.Each([lora, prompt, None])).data
    for i, γ in enumerate((lora, prompt, None)):
        assert distance(z[i], MODEL(IDS[i : i + 1], γ).data[0]) < 1e-12


@pytest.mark.parametrize("method", [mp.PromptTuning(NV), mp.PrefixTuning(NV)], ids=repr)
def test_a_text_may_be_read_in_parts(load_both, method):
    """With a KV cache, PEFT's forward pass prepends the prompt again, or drops the cache. In
    minipeft the prompt is read once.
    """
    γ, _ = load_both(method, MODEL)
    cache = mp.Cache(γ)
    parts = [MODEL(part, cache=cache).data for part in np.split(IDS, [2, 5], axis=1)]
    assert distance(np.concatenate(parts, 1), MODEL(IDS, γ).data) < 1e-12


def test_a_peft_model_has_prompts_of_one_length(load_both):
    """PEFT's outputs include those of the virtual tokens. With `compat="peft"`, rows of a batch
    that have prompts of different lengths raise an error, since their outputs differ in length.
    """
    lora, _ = load_both(mp.LoRA(2), MODEL)
    prompt, _ = load_both(mp.PromptTuning(NV), MODEL)
    with pytest.raises(ValueError, match="read them alone"):
        PeftModel(MODEL, mp.Each([lora, prompt, None]))(IDS)


# -- the page


def sections():
    for name, test in [*globals().items(), *vars(encoder_decoders).items()]:
        if name.startswith("test_") and test.__doc__:
            title = name.removeprefix("test_").replace("_", " ").replace("dora", "DoRA")
            text = inspect.cleandoc(test.__doc__)
            if "γ, peft_model = load_both(" in inspect.getsource(test):
                text += '\n\n*`compat="peft"`: as PEFT.*'
            yield f"## {title[0].upper()}{title[1:]}\n\n{text}\n"


def page():
    return "\n".join([inspect.cleandoc(__doc__) + "\n", *sections()])


def test_the_page_is_made_of_these_tests():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.hf.test_differences"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")
