"""Prompt tuning: 003 §11.2.3.2; Lester et al. 2021."""

import math

import numpy as np

from ..adaptation.adaptation import parameter
from ..adaptation.cache import Cache
from ..adaptation.chain import Chain
from ..adaptation.each import Each
from ..autograd.nn import size
from ..autograd.tensor import grad
from ..methods import PrefixTuning, Probe, PromptTuning, PseudoTokens, nearest
from ..methods.template import Layout, Template
from ..model.bert import BertConfig, Encoder
from ..model.ensemble import ensemble, majority_vote, mean_probability
from ..model.heads import Classifier
from .draw import columns, logits, watch
from .entry import EXACT, Differs, equation
from .literal import (
    attn_op,
    causal,
    embed,
    gradient,
    language_model,
    log_p,
    read_both_ways,
    softmax,
    states,
)


def prompted(θ, P, x, attend=causal):
    """Logits under x in [P, X] (d, L'),  L' = L + k"""
    return language_model(θ, np.hstack([P, embed(θ, x)]), attend=attend)[:, P.shape[1] :]


def label_rows(W, labels):
    """One column for each label: the mean of the embeddings of its words"""
    return np.stack([sum(W[:, word] for word in label) / len(label) for label in labels], axis=1)


def which_rows(P, W):
    """For each row of P the row of W that it is; -1 if there is none"""
    at = {tuple(w): i for i, w in enumerate(W)}
    return np.array([at.get(tuple(p), -1) for p in P])


def put(P, E, at):
    """P among the columns of E, before column `at`"""
    return np.hstack([E[:, :at], P, E[:, at:]])


def classified(θ, P, W, x):
    """p(y | [P; x]) = softmax(W h),  h the last state"""
    return softmax(W @ states(θ, np.hstack([P, embed(θ, x)]))[:, -1])


def most_votes(ps):
    """The class that most models think likeliest; of several such, with the largest Σ log p"""
    votes = [max(range(len(p)), key=lambda c: p[c]) for p in ps]
    so_many = lambda c: sum(vote == c for vote in votes)
    return max(range(len(ps[0])), key=lambda c: (so_many(c), sum(np.log(p[c]) for p in ps)))


def cosine(p, w):
    return sum(p * w) / math.sqrt(sum(p * p) * sum(w * w))


def by_cosine(P, W):
    """For each column of P the columns of W, the nearest first: which, and their cosines"""
    found = [sorted(((-cosine(p, w), i) for i, w in enumerate(W.T))) for p in P.T]
    which, cosines = ([[pair[n] for pair in row] for row in found] for n in (1, 0))
    return np.array(which), -np.array(cosines)


@equation("PR-1")
def prompt_tuning(draw):
    """Pr(Y | [P; X]),  [P; X] of length L' = L + k
    003 §11.2.3.2; Lester et al. 2021, §2"""
    model, θ, words, γ = draw.case(PromptTuning(draw.size(1, 3)), least=2, layers=1)
    ((P,),), texts = columns(γ), np.stack([words, draw.rng.permutation(words)])
    yield [prompted(θ, P, x) for x in texts], columns(model(texts, γ))
    yield len(words) + γ.length, watch(model, words, γ)["blocks.0.attn"][0].shape[1], EXACT
    ℓ = lambda P: -log_p(prompted(θ, P, words[:-1]), words[1:]).mean()  # of the text's words alone
    ours = model.loss(words[None], words[None], γ)
    yield ℓ(P), ours.data
    yield gradient(ℓ, P), grad(ours, γ.parameters())[0].T  # P is all there is to train


@equation("PR-2")
def prompt_as_prefix(draw):
    """causal: prompt = prefix of the keys and values that the prompt alone has in every layer
    follows from PF-1; false of a bidirectional model with two layers or more"""
    for attend, layers in ((causal, 1), (causal, 3), (attn_op, 1), (attn_op, 2)):
        prompt = PromptTuning(draw.size(1, 4))
        model, θ, words, prompt = draw.case(prompt, causal=attend is causal, layers=layers)
        literal = prompted(θ, *columns(prompt)[0], words, attend)
        ours = logits(model, words, alone_in_memory(model, prompt))
        yield literal, logits(model, words, prompt)
        yield Differs(literal, ours) if attend is attn_op and layers > 1 else (literal, ours)


def alone_in_memory(model, prompt):
    """The prefix of what a model remembers after it has read nothing but the prompt."""
    cache = Cache(prompt)
    model.stream(np.zeros((1, 0), int), np.ones((1, 0), bool), cache=cache)
    prefix = PrefixTuning(prompt.length).attach(model, np.random.default_rng(0))
    prefix.at = {path: [parameter(x.data[0]) for x in cache.kv[path][0]] for path in prefix.at}
    return prefix


@equation("PR-3")
def soft_is_hard(draw):
    """at the start P = embeddings of words: the soft prompt is the hard prompt, bit for bit
    003 §11.2.3.2; Lester et al. 2021, §3.2"""
    model, words, context = draw.model(), draw.words(), draw.words()
    γ = PromptTuning(len(context), init="text", words=tuple(context)).attach(model, draw.rng)
    θ, hard = columns(model), np.array([*context, *words])
    text = np.arange(len(context), len(hard))
    yield logits(model, hard, positions=text[None]), logits(model, words, γ), EXACT
    yield language_model(θ, embed(θ, hard))[:, text], logits(model, words, γ)
    yield Differs(logits(model, words), logits(model, words, γ))


@equation("PR-4")
def order_of_a_prompt(draw):
    """[PΠ; X] ≠ [P; X], by positions or by a causal mask; equal without both
    follows from AT-1; a prefix has no order (PF-5)"""
    for attend in (causal, attn_op):
        for positions in ("learned", "none"):
            γ, options = PromptTuning(draw.size(2, 4)), {"causal": attend is causal, "layers": 2}
            model, θ, words, γ = draw.case(γ, positions=positions, **options)
            ((P,),) = columns(γ)
            literal = prompted(θ, P, words, attend)
            ours = logits(model, words, γ.map(lambda p: parameter(np.roll(p.data, 1, axis=0))))
            yield prompted(θ, np.roll(P, 1, axis=1), words, attend), ours
            ordered = attend is causal or positions == "learned"
            yield Differs(literal, ours) if ordered else (literal, ours)


@equation("PR-5")
def starts(draw):
    """P₀: U[-½, ½]; rows of the 5,000 most frequent words, each once; mean rows of class labels
    003 §11.2.3.2; Lester et al. 2021, §3.2 (their gin file: U[0, ½)); 002 lacks one (X23)"""
    large, small = (draw.model(layers=0, vocabulary=V) for V in (6000, draw.V))
    W, k, seed = small.tokens.W.data, draw.size(3, 20), draw.size(0, 10**9)

    def start(model, length, rng=draw.rng, **options):
        return PromptTuning(length, **options).attach(model, rng).at["tokens"][0].data

    uniform = start(small, k, np.random.default_rng(seed), init="uniform")
    u = np.random.default_rng(seed).random((k, W.shape[1]))
    yield u - 0.5, uniform, EXACT
    yield Differs(u / 2, uniform)
    positions = which_rows(start(large, 400), large.tokens.W.data)
    yield np.ones(400), (0 <= positions) & (positions < 5000), EXACT
    yield 400, len(set(positions)), EXACT
    yield range(draw.V), sorted(which_rows(start(small, draw.V), W)), EXACT
    yield np.ones(k), which_rows(start(small, k), W) >= 0, EXACT  # more than there are: some twice
    words = tuple(draw.words())
    text = [words[i % len(words)] for i in range(k)]
    yield text, which_rows(start(small, k, init="text", words=words), W), EXACT
    labels = words, words[:1]
    P = start(small, k, init="labels", words=labels)
    yield label_rows(W.T, labels), P[:2].T
    yield np.ones(k - 2), which_rows(P[2:], W) >= 0, EXACT


@equation("PR-6")
def places(draw):
    """[P; <s>; x; </s>], [<s>; P; x; </s>], [<s>; x; </s>; P], [<s>; x; P; </s>]
    Lester et al.'s train/prompts.py:56 to 163; an encoder has it behind [CLS]"""
    model, (bos, eos), x, k = draw.model(), draw.words(2, 2), draw.words(), draw.size(1, 4)
    θ, text = columns(model), np.array([bos, *x, eos])
    γ = draw.attached(PseudoTokens(f"[P]*{k} {{x}}"), model)
    ((P,),), E, L = columns(γ), embed(θ, text), len(text)
    parts = {"bos": [bos], "x": [*x], "eos": [eos]}
    front, after_bos = f"[P]*{k} {{bos}} {{x}} {{eos}}", f"{{bos}} [P]*{k} {{x}} {{eos}}"
    suffix, before_eos = f"{{bos}} {{x}} {{eos}} [P]*{k}", f"{{bos}} {{x}} [P]*{k} {{eos}}"
    for at, template in zip((0, 1, L, L - 1), (front, after_bos, suffix, before_eos)):
        ids = Template(template).fill(None, draw.V, **parts)
        yield language_model(θ, put(P, E, at)), logits(model, ids, γ)
        yield Differs(language_model(θ, put(P, E, (at + 2) % (L + 1))), logits(model, ids, γ))
    prompt = PromptTuning(k).attach(model, draw.rng)
    prompt.at = γ.at
    ids = Template(front).fill(None, draw.V, **parts)
    yield logits(model, ids, γ)[:, k:], logits(model, text, prompt)
    model = draw.model(kind=Encoder, make=BertConfig)
    θ, γ = columns(model), draw.attached(γ, model)
    ids = Layout(γ.template, None, model)(text)
    yield read_both_ways(θ, put(*columns(γ)[0], embed(θ, text), 1)), logits(model, ids, γ)


@equation("PR-7")
def count(draw):
    """a prompt is k · d numbers
    001: 20,480 against 11 billion; Lester et al. 2021, Fig. 2; PEFT has 2k rows for T5 (X23)"""
    for k, d in ((draw.size(1, 20), draw.size(1, 20)), (5, 4096)):
        model = draw.model(layers=0, width=d, heads=1)
        γ = PromptTuning(k).attach(model, draw.rng)
        yield k * d, size(γ), EXACT
    yield 5, math.floor(math.log10(11e9 / size(γ))), EXACT  # orders of magnitude


@equation("PR-8")
def ensembles(draw):
    """argmax_c Σ_n [c = argmax p_n], or Σ_n p_n(c): N prompts, one model, one batch of N copies
    Lester et al. 2021, §6, where nothing says how a tie ends; here by Σ_n log p_n(c)"""
    L, B, N = draw.size(1, 5), 3, draw.size(2, 4)
    model, texts = Classifier(draw.model(), 3), np.stack([draw.words(L, L) for _ in range(B)])
    θ, lengths = columns(model), [draw.size(1, 3) for _ in range(N)]
    members = [draw.attached(Chain(PromptTuning(k), Probe()), model) for k in lengths]
    together = [[p.data.T for p in γ.parameters()] for γ in members]
    p = ensemble(model, members, texts)  # (N, B, C)
    yield [[classified(θ, P, W, x) for x in texts] for P, W in together], p
    yield [softmax(columns(model(texts, γ))).T for γ in members], p  # one after another
    yield [most_votes(p[:, i]) for i in range(B)], majority_vote(p), EXACT
    yield sum(p) / N, mean_probability(p)
    tie = np.array([[[0.5, 0.4, 0.1]], [[0.1, 0.8, 0.1]], [[0.45, 0.4, 0.15]], [[0.3, 0.6, 0.1]]])
    tie = tie[draw.rng.permutation(4)][..., (order := draw.rng.permutation(3))]
    yield np.argwhere(order == 1)[0], majority_vote(tie), EXACT  # two votes each
    yield [most_votes(tie[:, 0])], majority_vote(tie), EXACT
    sure = np.array([[[0.55, 0.45, 0]], [[0.55, 0.45, 0]], [[0, 0.95, 0.05]]])
    yield Differs(np.argmax(mean_probability(sure), axis=1), majority_vote(sure))


@equation("PR-9")
def nearest_words(draw):
    """argmax_w pᵀw / |p||w| for each row p of P
    Lester et al. 2021, §7"""
    model, words, n = draw.model(layers=0), draw.words(), draw.size(1, draw.V)
    W, context = columns(model).tokens.W, tuple(int(word) for word in words)
    γ = PromptTuning(len(words), init="text", words=context).attach(model, draw.rng)
    ids, cosines = nearest(γ.at["tokens"][0], model.tokens.W)
    yield words[:, None], ids, EXACT  # untrained, they are their own words
    yield np.ones((len(words), 1)), cosines
    P = draw.array(len(W), draw.size(1, 4))
    which, values = by_cosine(P, W)
    ids, cosines = nearest(P.T, model.tokens.W, n)
    yield which[:, :n], ids, EXACT
    yield values[:, :n], cosines
    yield which[:, :n], nearest(7 * P.T, model.tokens.W, n)[0], EXACT  # whatever their length


@equation("PR-11")
def many_tasks(draw):
    """rows of one batch behind prompts of different tasks = runs apart
    000; Lester et al. 2021, Fig. 1"""
    model, ks = draw.model(), [draw.size(1, 4) for _ in range(3)]
    θ, texts = columns(model), [draw.words() for _ in ks]
    tasks = [draw.attached(PromptTuning(k), model) for k in ks]
    ids, mask = draw.padded(texts)
    ours = columns(model(ids, Each(tasks), mask=mask))
    for x, γ, row, real in zip(texts, tasks, ours, mask):
        yield prompted(θ, *columns(γ)[0], x), row[:, real]
