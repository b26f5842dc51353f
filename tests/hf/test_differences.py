"""# Where minipeft differs from PEFT

What is trained with minipeft, or loaded into it, does what is right. For what was trained with PEFT
and depends on its numbers, those of release 0.21.2, there is
`load_adaptation(folder, model, compat="peft")`. Each section here is a test of
`tests/test_differences.py`; `tests/test_oracles.py` and `tests/test_matrix.py` compare the numbers
themselves.
"""

import inspect
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minipeft as mp
from tests.support.families import BERT, GPT2, LLAMA, C, T, V, decoder, encoder, nudged

PAGE = Path(__file__).parents[2] / "docs" / "differences-from-peft.md"
NV = 4
MODEL, LONGER = nudged(decoder(GPT2)), nudged(decoder(LLAMA))
READER = nudged(encoder(BERT))
RNG = np.random.default_rng(0)
IDS = RNG.integers(1, V, (3, T))
LEFT, RIGHT = (np.hstack(x) for x in ([IDS[:, :2] * 0, IDS], [IDS, IDS[:, :2] * 0]))
ON_LEFT, ON_RIGHT = (np.repeat([[*a, *b]], 3, 0) for a, b in ([[0, 0], [1] * T], [[1] * T, [0, 0]]))


@pytest.fixture
def loaded(tmp_path):
    """A method on a model as it is loaded, and as it is loaded to be PEFT's."""

    def both(method, model):
        γ = mp.Chain(method, mp.Probe()) if hasattr(model, "score") else method
        γ.attach(model, np.random.default_rng(1))
        for p in γ.parameters():
            p.data = p.data + 0.3 * RNG.normal(size=p.shape)
        mp.save(γ, tmp_path / "a", dtype=np.float64)
        return [mp.load_adaptation(tmp_path / "a", model, compat=c) for c in (None, "peft")]

    return both


def apart(a, b):
    return np.abs(a - b).max()


# -- prompts


def test_padding_stands_before_a_prompt_not_in_it(loaded):
    """With left padding PEFT reads [prompt][padding][text], and the padding takes positions, so a
    text's logits depend on how far it is padded. Here a prompt stands next to its text.
    """
    right, theirs = loaded(mp.PromptTuning(NV), MODEL)
    alone = MODEL(IDS, right).data
    assert apart(MODEL(LEFT, right, mask=ON_LEFT).data[:, 2:], alone) < 1e-12
    assert apart(MODEL(LEFT, theirs, mask=ON_LEFT).data[:, -T:], alone) > 1e-2
    assert apart(MODEL(IDS, theirs).data[:, -T:], alone) < 1e-12  # without padding it is right


def test_generation_after_a_prompt_does_not_depend_on_padding(loaded):
    """For the same reason what PEFT generates after a prompt depends on left padding."""
    right, theirs = loaded(mp.PromptTuning(NV), MODEL)
    say = lambda γ, *given: mp.generate(MODEL, given[0], γ, *given[1:], max_new_tokens=12)
    assert np.array_equal(say(right, LEFT, ON_LEFT), say(right, IDS))
    assert not np.array_equal(say(theirs, LEFT, ON_LEFT), say(theirs, IDS))


@pytest.mark.parametrize("model", [MODEL, mp.TokenClassifier(READER, C), mp.Features(LONGER)])
def test_logits_are_of_the_text(loaded, model):
    """PEFT's logits and states have a row for every virtual token, so they are longer than the
    labels. Here they are the text's.
    """
    right, theirs = loaded(mp.PromptTuning(NV), model)
    z, longer = model(IDS, right).data, model(IDS, theirs).data
    assert z.shape[1] == T and longer.shape[1] == NV + T
    assert apart(longer[:, NV:], z) < 1e-12


def test_a_prompt_predicts_no_word_of_the_text(loaded):
    """PEFT's loss asks the last virtual token for the first word of the text, unless its label is
    -100. Here the first word has nothing before it that predicts it, with a prompt as without one.
    """
    right, theirs = loaded(mp.PromptTuning(NV), MODEL)
    rest = np.hstack([IDS[:, :1] * 0 - 100, IDS[:, 1:]])
    loss = MODEL.loss(IDS, IDS, right).data
    assert loss == MODEL.loss(IDS, rest, right).data
    assert apart(loss, MODEL.loss(IDS, rest, theirs).data) < 1e-12
    z = MODEL(IDS, theirs).data[:, NV - 1]
    first = np.log(np.exp(z).sum(1)) - z[np.arange(3), IDS[:, 0]]
    all_of_them = (loss * (T - 1) * 3 + first.sum()) / (T * 3)
    assert apart(MODEL.loss(IDS, IDS, theirs).data, all_of_them) < 1e-12


def test_labels_of_tokens_stay_with_their_tokens(loaded):
    """PEFT's token classification with prompts refuses every label: logits are longer than labels.
    Here labels are the text's, and so are logits.
    """
    model = nudged(mp.TokenClassifier(MODEL, C))
    right, theirs = loaded(mp.PromptTuning(NV), model)
    assert np.isfinite(model.loss(IDS, IDS % C, right).data)
    with pytest.raises(ValueError, match=rf"must be \(3, {NV + T}\)"):
        model.loss(IDS, IDS % C, theirs)


def test_answers_stay_with_their_tokens(loaded):
    """PEFT's question answering with prompts does not move the labels: column 3 is the fourth of
    the virtual tokens and the text. Here it is the text's.
    """
    model = nudged(mp.SpanClassifier(MODEL))
    right, theirs = loaded(mp.PromptTuning(NV), model)
    labels = np.array([[0, 2], [1, 1], [2, 3]])
    moved = model.loss(IDS, labels, theirs).data
    z = model(IDS, theirs).data
    p = z - np.log(np.exp(z).sum(1, keepdims=True))
    want = -np.mean([p[i, c, k] for i, row in enumerate(labels) for k, c in enumerate(row)])
    assert apart(moved, want) < 1e-12 and apart(model.loss(IDS, labels, right).data, want) > 1e-2


def test_an_encoder_pools_a_word(loaded):
    """With prompts PEFT's BERT classifies by the state of the first virtual token. Here it is that
    of [CLS].
    """
    model = nudged(mp.Classifier(READER, C, "cls", bias=True))
    right, theirs = loaded(mp.PromptTuning(NV), model)
    W, b = (p.data for p in right.methods[1].at["score"])
    pooled = lambda h: np.tanh(h @ model.pooler.W.data + model.pooler.b.data) @ W + b
    states = lambda γ: mp.Features(model)(IDS, γ).data
    assert apart(model(IDS, right).data, pooled(states(right)[:, 0])) < 1e-12
    assert apart(model(IDS, theirs).data, pooled(states(theirs)[:, 0])) < 1e-12
    assert apart(states(theirs)[:, NV:], states(right)) < 1e-12


def test_a_decoder_pools_a_word(loaded):
    """With prompts PEFT's GPT-2 and Llama classify by the last column, padding or not. Here it is
    the last word.
    """
    model = nudged(mp.Classifier(LONGER, C))
    right, theirs = loaded(mp.PromptTuning(NV), model)
    alone = model(IDS, right).data
    assert apart(model(RIGHT, right, mask=ON_RIGHT).data, alone) < 1e-12
    assert apart(model(RIGHT, theirs, mask=ON_RIGHT).data, alone) > 1e-2


# -- padding, in transformers' heads


def test_padding_before_a_text_is_not_its_first_token(loaded):
    """transformers' BERT classifies by the first column, which left padding makes a [PAD], with any
    method. Here it is the first real token.
    """
    model = nudged(mp.Classifier(READER, C, "cls", bias=True))
    right, theirs = loaded(mp.LoRA(2), model)
    alone = model(IDS, right).data
    assert apart(model(LEFT, right, mask=ON_LEFT).data, alone) < 1e-12
    assert apart(model(LEFT, theirs, mask=ON_LEFT).data, alone) > 1e-2


def test_positions_count_words(loaded):
    """A forward of transformers' GPT-2 or BERT without `position_ids` counts padding as positions,
    so with any method of PEFT's the logits of a text depend on left padding. Here positions count
    words, as they do when `generate` or the caller passes position_ids: compat="peft" is of that.
    """
    for γ in loaded(mp.LoRA(2), MODEL):
        alone = MODEL(IDS, γ).data
        assert apart(MODEL(LEFT, γ, mask=ON_LEFT).data[:, 2:], alone) < 1e-12
    columns = MODEL.positions.W.data[np.arange(2, T + 2)] - MODEL.positions.W.data[np.arange(T)]
    assert apart(columns, 0) > 1e-2  # what theirs would add at positions 2, 3, …


def test_labels_of_padding_are_no_labels(loaded):
    """A label at a padding token, unless it is -100, counts in transformers' losses. Here it does
    not.
    """
    model = nudged(mp.TokenClassifier(LONGER, C))
    right, theirs = loaded(mp.LoRA(2), model)
    alone, padded = model.loss(IDS, IDS % C, right).data, RIGHT % C
    assert apart(model.loss(RIGHT, padded, right, mask=ON_RIGHT).data, alone) < 1e-12
    assert apart(model.loss(RIGHT, padded, theirs, mask=ON_RIGHT).data, alone) > 1e-2


def test_padding_is_no_answer(loaded):
    """The probabilities of an answer's start and end in transformers' losses sum to 1 over padding
    too. Here padding is no answer, and changes nothing.
    """
    model = nudged(mp.SpanClassifier(MODEL))
    right, theirs = loaded(mp.LoRA(2), model)
    labels = np.array([[0, 2], [1, 1], [2, 3]])
    alone = model.loss(IDS, labels, right).data
    assert apart(model.loss(RIGHT, labels, right, mask=ON_RIGHT).data, alone) < 1e-12
    assert apart(model.loss(RIGHT, labels, theirs, mask=ON_RIGHT).data, alone) > 1e-2


# -- methods


def test_doras_norm_has_its_gradient(loaded):
    """PEFT's DoRA takes the norm for a constant in the backward pass, as §4.3 of the paper allows.
    Here the gradient is that of the equation.
    """
    right, theirs = loaded(mp.DoRA(2, targets=r"attn\.[qkv]$"), MODEL)
    A, B, m = ([γ.parameters()[i] for γ in (right, *theirs.methods)] for i in range(3))
    gs = [
        mp.grad(MODEL.loss(IDS, IDS, γ), of)
        for γ, of in zip((right, theirs), zip(A, B, m), strict=True)
    ]
    assert MODEL.loss(IDS, IDS, right).data == MODEL.loss(IDS, IDS, theirs).data
    assert apart(gs[0][2], gs[1][2]) < 1e-12 and apart(gs[0][0], gs[1][0]) > 1e-6
    nudge, was = 1e-6 * RNG.normal(size=A[0].shape), A[0].data
    losses = []
    for sign in (1, -1):
        A[0].data = was + sign * nudge
        losses.append(MODEL.loss(IDS, IDS, right).data)
    A[0].data = was
    rise = (losses[0] - losses[1]) / 2
    assert abs(rise - (gs[0][0] * nudge).sum()) < 1e-4 * abs(rise)
    assert abs(rise - (gs[1][0] * nudge).sum()) > 1e-3 * abs(rise)


def test_zeros_are_not_no_prefix():
    """PEFT calls a prefix of zeros (`init_weights="zero"`) one that changes nothing. A key of 0 has
    the score 0, and so takes its share of the attention: there is no such start here.
    """
    prefix = mp.PrefixTuning(NV, init="normal", shift_positions=False)
    prefix.attach(MODEL, np.random.default_rng(0))
    for p in prefix.parameters():
        p.data = np.zeros_like(p.data)
    assert apart(MODEL(IDS, prefix).data, MODEL(IDS).data) > 1e-2


def test_prompts_and_prefixes_start_from_words():
    """PEFT starts prompts and prefixes with N(0, 1), P-tuning with an MLP, and LoRA's A uniform.
    Here, as in the papers, rows of prompts are embeddings of words, those of prefixes keys and
    values of words, P-tuning's encoder is an LSTM, and A is Gaussian.
    """
    rng = np.random.default_rng(0)
    (P,) = mp.PromptTuning(NV).attach(MODEL, rng).parameters()
    assert all((MODEL.tokens.W.data == row).all(1).any() for row in P.data)
    prefix, cache = mp.PrefixTuning(words=(3, 1, 4)).attach(MODEL, rng), mp.Cache()
    MODEL.states(np.array([[3, 1, 4]]), cache=cache)
    for path, (k, v) in prefix.at.items():
        there, _ = cache.kv[path]
        assert np.array_equal([k.data, v.data], [x.data[0] for x in there])
    assert mp.PTuning().encoder == "lstm"
    A = mp.LoRA(rank=64).attach(mp.load(), rng).parameters()[0].data
    assert (abs(A) > A.shape[0] ** -0.5).mean() > 0.2  # uniform to ±1/√in would have none


def test_q_and_v_have_an_A_each(tmp_path):
    """GPT-2's q, k and v are one layer in PEFT, c_attn, so they share one A, and (IA)³ scales q as
    well. Here LoRA is on q and v, each with its own A, and (IA)³ on k and v. To save it, the As are
    stacked; to load PEFT's, q, k and v share one.
    """
    lora = mp.LoRA(2).attach(MODEL, np.random.default_rng(0))
    assert len(lora.parameters()) == 2 * 2 * GPT2.layers
    for p in lora.parameters():
        p.data = RNG.normal(size=p.shape)
    mp.save(lora, tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a/adapter_model.safetensors"
    tensors = load_file(path)
    assert {x.shape for n, x in tensors.items() if "lora_A" in n} == {(4, GPT2.width)}
    save_file(tensors, path)  # as PEFT keeps it
    fused = mp.load_adaptation(tmp_path / "a", MODEL)
    assert len(fused.parameters()) == (1 + 3) * GPT2.layers
    assert apart(MODEL(IDS, fused).data, MODEL(IDS, lora).data) < 1e-12
    assert [*mp.IA3().attach(MODEL, None).at][:2] == ["blocks.0.attn.k", "blocks.0.attn.v"]


# -- folders and batches


def test_an_encoder_is_kept_to_train_on(tmp_path):
    """PEFT saves what an encoder makes, and not the encoder, so P-tuning or a projected prefix is
    never trained on. Here it stands beside, and `resume=True` loads it.
    """
    γ = mp.PTuning(f"[P]*{NV} {{x}}", layers=1).attach(MODEL, np.random.default_rng(0))
    mp.save(γ, tmp_path / "a", dtype=np.float64)
    again = mp.load_adaptation(tmp_path / "a", MODEL, resume=True)
    assert type(again) is mp.PTuning
    pairs = zip(again.parameters(), γ.parameters(), strict=True)
    assert all(np.array_equal(p.data, q.data) for p, q in pairs)


@pytest.mark.parametrize("change", ["missing", "left over"])
def test_a_file_has_what_its_configuration_says(tmp_path, change):
    """PEFT warns of tensors that are missing, and leaves them at their start, and ignores those it
    does not know. Here either is an error.
    """
    mp.save(mp.LoRA(2).attach(MODEL, np.random.default_rng(0)), tmp_path / "a")
    path = tmp_path / "a/adapter_model.safetensors"
    tensors = load_file(path)
    x = tensors.pop(next(iter(tensors)))
    save_file(tensors if change == "missing" else load_file(path) | {"x": x}, path)
    with pytest.raises(mp.CheckpointError, match="missing" if change == "missing" else "no place"):
        mp.load_adaptation(tmp_path / "a", MODEL)


def test_rows_have_any_methods(loaded):
    """PEFT mixes LoRAs in a batch, for inference; asked for other methods it takes one for all rows
    and says nothing. Here rows have any methods, also in training.
    """
    lora, _ = loaded(mp.LoRA(2), MODEL)
    prompt, _ = loaded(mp.PromptTuning(NV), MODEL)
    z = MODEL(IDS, mp.Each([lora, prompt, None])).data
    for i, γ in enumerate((lora, prompt, mp.PLAIN)):
        assert apart(z[i], MODEL(IDS[i : i + 1], γ).data[0]) < 1e-12


@pytest.mark.parametrize("method", [mp.PromptTuning(NV), mp.PrefixTuning(NV)], ids=repr)
def test_a_text_may_be_read_piece_by_piece(loaded, method):
    """PEFT's forward with a cache puts the prompt in front again, or drops the cache. Here what a
    Memory has read is read once.
    """
    γ, _ = loaded(method, MODEL)
    cache = mp.Cache(γ)
    parts = [MODEL(part, cache=cache).data for part in np.split(IDS, [2, 5], axis=1)]
    assert apart(np.concatenate(parts, 1), MODEL(IDS, γ).data) < 1e-12


def test_what_shows_its_prompt_is_read_alone(loaded):
    """PEFT's numbers are of whole batches: rows that are loaded with `compat="peft"`, and so show
    their virtual tokens, are refused beside others.
    """
    lora, _ = loaded(mp.LoRA(2), MODEL)
    _, shows = loaded(mp.PromptTuning(NV), MODEL)
    with pytest.raises(ValueError, match="read them alone"):
        MODEL(IDS, mp.Each([lora, shows, None]))


@pytest.mark.parametrize("method", [mp.DoRA(2), mp.PromptTuning(NV)])
def test_what_is_loaded_as_theirs_is_saved_as_it_was(loaded, tmp_path, method):
    right, theirs = loaded(method, MODEL)
    mp.save(theirs, tmp_path / "b", dtype=np.float64)
    again = mp.load_adaptation(tmp_path / "b", MODEL)
    assert repr(again) == repr(right)
    assert np.array_equal(MODEL(IDS, again).data, MODEL(IDS, right).data)


def test_users_of_pefts_in_one_batch(loaded):
    first, second = (loaded(mp.PromptTuning(NV), MODEL)[1] for _ in range(2))
    z = MODEL(LEFT, mp.Each([first, second, first]), mask=ON_LEFT).data
    for i, γ in enumerate((first, second, first)):
        alone = MODEL(LEFT[i : i + 1], γ, mask=ON_LEFT[i : i + 1]).data[0]
        assert apart(z[i], alone) < 1e-12


def test_a_chain_shows_what_its_parts_show(loaded):
    lora, _ = loaded(mp.LoRA(2), MODEL)
    _, theirs = loaded(mp.PromptTuning(NV), MODEL)
    z = MODEL(LEFT, mp.Chain(theirs, lora), mask=ON_LEFT).data
    both = mp.hf.compat.AsPeft(*theirs.methods, lora)
    assert z.shape[1] == NV + T + 2 and np.array_equal(z, MODEL(LEFT, both, mask=ON_LEFT).data)


def test_users_of_pefts_classify_their_own_texts(loaded):
    model = nudged(mp.Classifier(MODEL, C))
    first, second = (loaded(mp.LoRA(2), model)[1] for _ in range(2))
    mask = np.arange(T) < [[3], [T], [5]]
    z = model(IDS, mp.Each([first, second, first]), mask=mask).data
    for i, γ in enumerate((first, second, first)):
        assert apart(z[i], model(IDS[i : i + 1], γ, mask=mask[i : i + 1]).data[0]) < 1e-12


# -- the page


def sections():
    for name, thing in list(globals().items()):
        if name.startswith("test_") and thing.__doc__:
            title = name.removeprefix("test_").replace("_", " ").replace("doras", "DoRA's")
            told = inspect.cleandoc(thing.__doc__)
            if "theirs = loaded(" in inspect.getsource(thing):
                told += '\n\n*`compat="peft"`: as PEFT.*'
            yield f"## {title[0].upper()}{title[1:]}\n\n{told}\n"


def page():
    return "\n".join([inspect.cleandoc(__doc__) + "\n", *sections()])


def test_the_page_is_made_of_these():
    assert PAGE.read_text(encoding="utf-8") == page(), f"python {Path(__file__).name} writes it"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")
