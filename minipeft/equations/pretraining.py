"""Objectives of pretraining: Radford et al. 2019; Devlin et al. 2019; Raffel et al. 2020."""

import numpy as np

from ..data.batches import passages
from ..data.objectives import corrupt_spans, mask_tokens, split_prefixes
from ..model.bert import BertConfig, MaskedLM
from ..model.encoder_decoder import EncoderDecoder, T5Config
from .draw import columns
from .encoder_decoder import t5
from .entry import EXACT, Differs, equation
from .literal import bert, embed, exact_gelu, language_model, layer_norm, linear, log_p


def masked(x, words, mask, random, chosen, how):
    """x̃ and y: 15 % of the words, in x̃ [MASK] (80 %), a random word (10 %) or themselves (10 %)"""
    read, labels = list(x), [-100] * len(x)
    for t, word in enumerate(x):
        if word in words and chosen[t] < 0.15:
            labels[t] = word
            if how[t] < 0.8:
                read[t] = mask
            elif how[t] < 0.9:
                read[t] = random[t]
    return read, labels


def masked_language_model(θ, x):
    """The logits W gelu(W' h + b') + b of the word at each place of x, with a norm before W"""
    H = exact_gelu(linear(θ.transform.dense, bert(θ, embed(θ, x))))
    return θ.tokens.W.T @ layer_norm(θ.transform.ln, H) + θ.head.b


def restore(inputs, targets, sentinels):
    """The inputs, with each sentinel replaced by the tokens after it in the targets"""
    spans, text = {}, []
    for token in targets:
        if token in sentinels:
            span = spans[token] = []
        else:
            span.append(token)
    for token in inputs:
        text += spans[token] if token in sentinels else [token]
    return text


T5 = {"kind": EncoderDecoder, "make": T5Config}


def seq2seq(draw):
    """Return an encoder–decoder and a random text; ids from V on are sentinels."""
    model = draw.model(**T5, vocabulary=draw.V + 5, decoder_layers=draw.size(1, 3))
    return model, draw.rng.integers(0, draw.V, draw.size(2, 80))


def written(model, x, y):
    """Return the library's logits (V, U) of each token of y, which the decoder writes for x."""
    start = model.config.decoder_start
    return columns(model([[*x]], decoder_ids=[[start, *y[:-1]]]))[0]


def loss_of(model, x, y):
    """Return the library's loss of a text y that the decoder writes for x."""
    return model.loss([[*x]], [[*y]]).data


@equation("PLM-1")
def causal_language_modelling(draw):
    """-1/(L-1) Σ_t log p(x_t | x_<t)
    Radford et al. 2019, §2"""
    model, text = draw.model(), draw.rng.integers(0, draw.V, 40)
    θ, L = columns(model), draw.size(2, 24)
    ids, labels, _ = next(passages(text, 1, L, draw.rng))
    (x,) = ids
    ℓ = -log_p(language_model(θ, embed(θ, x[:-1])), x[1:])
    yield ℓ.mean(), model.loss(ids, labels).data
    yield ℓ.sum() / L, model.loss(ids, labels, count=L).data
    begins = [s for s in range(41 - L) if np.array_equal(text[s : s + L], x)]
    yield text[begins[0] :][:L], x, EXACT


@equation("PLM-2")
def masked_language_modelling(draw):
    """-1/|M| Σ_{t∈M} log p(x_t | x̃),  15 % of the words are in M; x̃ has [MASK] at 80 % of these
    Devlin et al. 2019, §3.1: 10 % are replaced by a random word, 10 % are unchanged"""
    model, V = draw.model(kind=MaskedLM, make=BertConfig), draw.V
    θ, words, mask = columns(model), range(2, V - 1), V - 1
    labels = np.array([-100])
    while (labels < 0).all():
        x, seed = draw.rng.integers(0, V - 1, 24), draw.size(0, 10**9)
        inputs, labels = mask_tokens(x, words, mask, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    random, chosen, how = rng.integers(2, V - 1, 24), rng.random(24), rng.random(24)
    yield masked(x, words, mask, random, chosen, how), [inputs, labels], EXACT
    M, library = np.flatnonzero(labels >= 0), model.loss(inputs[None], labels[None]).data
    log_ps = log_p(masked_language_model(θ, inputs), x)
    yield -log_ps[M].mean(), library
    yield Differs(-log_ps.mean(), library)  # of all words


@equation("PLM-3")
def span_corruption(draw):
    """-1/U Σ_u log p(y_u | x̃, y_<u),  x̃ = x with ⟨i⟩ for span i,  y = [⟨0⟩; span 0; ⟨1⟩; …; ⟨n⟩]
    Raffel et al. 2020, §3.1.4: 15 % of the tokens, in spans of 3 on average, n of them"""
    model, x = seq2seq(draw)
    sentinels, L = range(draw.V, draw.V + 5), len(x)
    inputs, targets = corrupt_spans(x, sentinels, draw.rng)
    removed = max(1, round(0.15 * L))
    n = max(1, round(removed / 3))
    yield x, restore(inputs, targets, sentinels), EXACT
    yield L - removed, sum(token not in sentinels for token in inputs), EXACT
    yield L + 2 * n + 1, len(inputs) + len(targets), EXACT
    yield sentinels[:n], [token for token in inputs if token in sentinels], EXACT
    yield sentinels[: n + 1], [token for token in targets if token in sentinels], EXACT
    yield sentinels[n], targets[-1], EXACT
    literal = t5(columns(model), inputs, [model.config.decoder_start, *targets[:-1]])
    yield -log_p(literal, targets).mean(), loss_of(model, inputs, targets)
    yield Differs(loss_of(model, x, targets), loss_of(model, inputs, targets))


@equation("PLM-4")
def prefix_language_modelling(draw):
    """-1/U Σ_u log p(y_u | x, y_<u),  [x; y] a text; bidirectional over x, causal over y
    Raffel et al. 2020, §3.2.1; the encoder reads x, and the decoder writes y, as in Lester et al.
    2021, §2.2"""
    model, text = seq2seq(draw)
    (x,), (y,) = split_prefixes([text], draw.rng)
    yield text, [*x, *y], EXACT
    literal = t5(columns(model), x, [model.config.decoder_start, *y[:-1]])
    yield -log_p(literal, y).mean(), loss_of(model, x, y)
    z, V = written(model, x, y), draw.V
    t = draw.size(0, len(y) - 1)
    before, after = slice(t + 1), slice(t + 1, None)  # what is written before y_t, and after it
    other = written(model, x, [*y[:t], (y[t] + 1) % V, *y[t + 1 :]])
    yield z[:, before], other[:, before], EXACT
    if t + 1 < len(y):
        yield Differs(z[:, after], other[:, after])
    other = written(model, [*x[:-1], (x[-1] + 1) % V], y)
    yield Differs(z[:, :1], other[:, :1])  # the first token depends on the last one of x
    if len(x) > 1:  # and the encoder's state of the first token of x on those after it
        first = lambda x: model.keys_and_values([[*x]])["decoder.blocks.0.cross"][0].data[:, 0]
        yield Differs(first(x), first([x[0], *(x[1:] + 1) % V]))
