"""Prompt tuning: Lester et al. 2021."""

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
from ..model.inputs import Inputs
from .draw import columns, logits, watch
from .entry import EXACT, Differs, equation
from .literal import (
    attn_op,
    bert,
    causal_attn,
    embed,
    gradient,
    hidden_states,
    language_model,
    log_p,
    softmax,
)


def with_prompt(θ, P, x, attend=causal_attn):
    """The logits at x of the language model that reads [P; X]"""
    return language_model(θ, np.hstack([P, embed(θ, x)]), attend=attend)[:, P.shape[1] :]


def label_embeddings(W, labels):
    """For each label a column, the mean of the embeddings of its words"""
    return np.stack([sum(W[:, word] for word in label) / len(label) for label in labels], axis=1)


def row_numbers(P, W):
    """For each row of P the number of the equal row of W, or -1"""
    rows = {tuple(w): i for i, w in enumerate(W)}
    return np.array([rows.get(tuple(p), -1) for p in P])


def insert(P, E, i):
    """[e_0, …, e_i-1, P, e_i, …]"""
    return np.hstack([E[:, :i], P, E[:, i:]])


def classify(θ, P, W, x):
    """p(y | [P; x]) = softmax(W h),  h the last hidden state"""
    return softmax(W @ hidden_states(θ, np.hstack([P, embed(θ, x)]))[:, -1])


def vote(ps):
    """argmax_c Σ_n [c = argmax p_n];  a tie goes to the largest Σ_n log p_n(c)"""
    votes = [max(range(len(p)), key=lambda c: p[c]) for p in ps]
    count = lambda c: sum(vote == c for vote in votes)
    return max(range(len(ps[0])), key=lambda c: (count(c), sum(np.log(p[c]) for p in ps)))


def cosine(p, w):
    """pᵀw / |p||w|"""
    return sum(p * w) / math.sqrt(sum(p * p) * sum(w * w))


def sort_by_cosine(P, W):
    """For each column of P the columns of W, nearest first: their numbers and their cosines"""
    sorted_pairs = [sorted((-cosine(p, w), i) for i, w in enumerate(W.T)) for p in P.T]
    numbers, cosines = ([[pair[n] for pair in row] for row in sorted_pairs] for n in (1, 0))
    return np.array(numbers), -np.array(cosines)


@equation("PR-1")
def prompt_tuning(draw):
    """Pr(Y | [P; X]),  [P; X] of length L' = L + k
    Adaptation chapter, §11.2.3.2; Lester et al. 2021, §2"""
    model, θ, words, γ = draw.case(PromptTuning(draw.size(1, 3)), shortest=2, layers=1)
    ((P,),), texts = columns(γ), np.stack([words, draw.rng.permutation(words)])
    yield [with_prompt(θ, P, x) for x in texts], columns(model(texts, γ))
    length = watch(model, words, γ)["blocks.0.attn"][0].shape[1]
    yield len(words) + γ.method.length, length, EXACT
    ℓ = lambda P: -log_p(with_prompt(θ, P, words[:-1]), words[1:]).mean()  # of words, not of P
    loss = model.loss(words[None], words[None], γ)
    yield ℓ(P), loss.data
    yield gradient(ℓ, P), grad(loss, γ.parameters())[0].T  # P is the only parameter


@equation("PR-2")
def prompt_as_prefix(draw):
    """causal: a prompt is the prefix of the keys and values that it has when it is read alone
    derived from PF-1; not so in a bidirectional model of two layers or more"""
    for attend, layers in ((causal_attn, 1), (causal_attn, 3), (attn_op, 1), (attn_op, 2)):
        equal = attend is causal_attn or layers == 1
        prompt, shortest = PromptTuning(draw.size(1, 4)), 1 if equal else 4  # for the prompt to see
        sizes = {"causal": attend is causal_attn, "layers": layers}
        model, θ, words, prompt = draw.case(prompt, shortest, **sizes)
        literal = with_prompt(θ, *columns(prompt)[0], words, attend)
        prefixed = logits(model, words, prefix_of_prompt(model, prompt))
        yield literal, logits(model, words, prompt)
        yield (literal, prefixed) if equal else Differs(literal, prefixed)


def prefix_of_prompt(model, prompt):
    """Return the prefix of the keys and values that the library has cached for a prompt alone."""
    cache, nothing = Cache(prompt), np.zeros((1, 0), int)
    model.run(Inputs(nothing, nothing.astype(bool), nothing), cache)
    prefix = PrefixTuning(prompt.method.length).attach(model, np.random.default_rng(0))
    for path, parameters in prefix.at.items():
        for name, rows in zip(parameters, cache.kv[path].rows):
            parameters[name] = parameter(rows.data[0])
    return prefix


@equation("PR-3")
def soft_is_hard(draw):
    """P = embeddings of words: the soft prompt is the hard prompt, bit for bit
    Adaptation chapter, §11.2.3.2; Lester et al. 2021, §3.2"""
    model, words, context = draw.model(), draw.words(), draw.words()
    γ = PromptTuning(len(context), init="text", words=tuple(context)).attach(model, draw.rng)
    θ, hard = columns(model), np.array([*context, *words])
    text = np.arange(len(context), len(hard))
    yield logits(model, hard, positions=text[None]), logits(model, words, γ), EXACT
    yield language_model(θ, embed(θ, hard))[:, text], logits(model, words, γ)
    yield Differs(logits(model, words), logits(model, words, γ))


@equation("PR-4")
def order_of_a_prompt(draw):
    """[PΠ; X] ≠ [P; X] with positions or a causal mask; [PΠ; X] = [P; X] with neither
    derived from AT-1; a prefix has no order (PF-5)"""
    for attend in (causal_attn, attn_op):
        for positions in ("learned", "none"):
            γ, options = PromptTuning(draw.size(2, 4)), {"positions": positions, "layers": 2}
            model, θ, words, γ = draw.case(γ, causal=attend is causal_attn, **options)
            ((P,),) = columns(γ)
            literal = with_prompt(θ, P, words, attend)
            rolled = logits(model, words, γ.map(lambda p: parameter(np.roll(p.data, 1, axis=0))))
            yield with_prompt(θ, np.roll(P, 1, axis=1), words, attend), rolled
            has_order = attend is causal_attn or positions == "learned"
            yield Differs(literal, rolled) if has_order else (literal, rolled)


@equation("PR-5")
def starts(draw):
    """P₀: U[-½, ½]; embeddings of distinct words of the 5,000 most frequent; of class labels, means
    Lester et al. 2021, §3.2 (their code: U[0, ½)); Adaptation chapter, §11.2.3.2; PEFT
    prompt-tuning page (corrected, X23)"""
    large, small = (draw.model(layers=0, vocabulary=V) for V in (6000, draw.V))
    W, k, seed = small.tokens.W.data, draw.size(3, 20), draw.size(0, 10**9)

    def start(model, length, rng=draw.rng, **options):
        return PromptTuning(length, **options).attach(model, rng).at["tokens"]["P"].data

    uniform = start(small, k, np.random.default_rng(seed), init="uniform")
    u = np.random.default_rng(seed).random((k, W.shape[1]))
    yield u - 0.5, uniform, EXACT
    yield Differs(u / 2, uniform)
    rows = row_numbers(start(large, 400), large.tokens.W.data)
    yield np.ones(400), (0 <= rows) & (rows < 5000), EXACT
    yield 400, len(set(rows)), EXACT
    yield range(draw.V), sorted(row_numbers(start(small, draw.V), W)), EXACT
    yield np.ones(k), row_numbers(start(small, k), W) >= 0, EXACT  # repeated if k > V
    words = tuple(draw.words())
    repeated = [words[i % len(words)] for i in range(k)]
    yield repeated, row_numbers(start(small, k, init="text", words=words), W), EXACT
    labels = words, words[:1]
    P = start(small, k, init="labels", words=labels)
    yield label_embeddings(W.T, labels), P[:2].T
    yield np.ones(k - 2), row_numbers(P[2:], W) >= 0, EXACT


@equation("PR-6")
def places(draw):
    """[P; <s>; x; </s>], [<s>; P; x; </s>], [<s>; x; </s>; P], [<s>; x; P; </s>]
    Lester et al. 2021, code, train/prompts.py:56; in an encoder after [CLS]"""
    model, (bos, eos), x, k = draw.model(), draw.words(2, 2), draw.words(), draw.size(1, 4)
    θ, text = columns(model), np.array([bos, *x, eos])
    γ = draw.adaptation(PseudoTokens(f"[P]*{k} {{x}}"), model)
    ((P,),), E, L = columns(γ), embed(θ, text), len(text)
    parts = {"bos": [bos], "x": [*x], "eos": [eos]}
    front, after_bos = f"[P]*{k} {{bos}} {{x}} {{eos}}", f"{{bos}} [P]*{k} {{x}} {{eos}}"
    suffix, before_eos = f"{{bos}} {{x}} {{eos}} [P]*{k}", f"{{bos}} {{x}} [P]*{k} {{eos}}"
    for i, template in zip((0, 1, L, L - 1), (front, after_bos, suffix, before_eos)):
        ids = Template(template).fill(None, draw.V, **parts)
        yield language_model(θ, insert(P, E, i)), logits(model, ids, γ)
        yield Differs(language_model(θ, insert(P, E, (i + 2) % (L + 1))), logits(model, ids, γ))
    prompt = PromptTuning(k).attach(model, draw.rng)
    prompt.at["tokens"]["P"] = γ.at["tokens"]["h"]
    ids = Template(front).fill(None, draw.V, **parts)
    yield logits(model, ids, γ)[:, k:], logits(model, text, prompt)
    model = draw.model(kind=Encoder, make=BertConfig)
    θ, γ = columns(model), draw.adaptation(γ.method, model)
    ids = Layout(γ.template, None, model)(text)
    yield bert(θ, insert(*columns(γ)[0], embed(θ, text), 1)), logits(model, ids, γ)


@equation("PR-7")
def prompt_size(draw):
    """a prompt has k · d parameters
    Lester et al. 2021, fig. 2; Why prompts work: 20,480, against 11 billion"""
    for k, d in ((draw.size(1, 20), draw.size(1, 20)), (5, 4096)):
        model = draw.model(layers=0, width=d, heads=1)
        γ = PromptTuning(k).attach(model, draw.rng)
        yield k * d, size(γ), EXACT
    yield 5, math.floor(math.log10(11e9 / size(γ))), EXACT  # orders of magnitude


@equation("PR-8")
def ensembles(draw):
    """argmax_c Σ_n [c = argmax p_n], or Σ_n p_n(c): N prompts, one model, one batch of N copies
    Lester et al. 2021, §6, which has no rule for a tie; here Σ_n log p_n(c) decides it"""
    L, B, N = draw.size(1, 5), 3, draw.size(2, 4)
    model, texts = Classifier(draw.model(), 3), np.stack([draw.words(L, L) for _ in range(B)])
    θ, lengths = columns(model), [draw.size(1, 3) for _ in range(N)]
    members = [draw.adaptation(Chain(PromptTuning(k), Probe()), model) for k in lengths]
    prompts_and_heads = [[p.data.T for p in γ.parameters()] for γ in members]
    p = ensemble(model, members, texts)  # (N, B, C)
    yield [[classify(θ, P, W, x) for x in texts] for P, W in prompts_and_heads], p
    yield [softmax(columns(model(texts, γ))).T for γ in members], p  # in N batches
    yield [vote(p[:, i]) for i in range(B)], majority_vote(p), EXACT
    yield sum(p) / N, mean_probability(p)
    tie = np.array([[[0.5, 0.4, 0.1]], [[0.1, 0.8, 0.1]], [[0.45, 0.4, 0.15]], [[0.3, 0.6, 0.1]]])
    tie = tie[draw.rng.permutation(4)][..., (order := draw.rng.permutation(3))]
    yield np.argwhere(order == 1)[0], majority_vote(tie), EXACT  # two votes each
    yield [vote(tie[:, 0])], majority_vote(tie), EXACT
    certain = np.array([[[0.55, 0.45, 0]], [[0.55, 0.45, 0]], [[0, 0.95, 0.05]]])
    yield Differs(np.argmax(mean_probability(certain), axis=1), majority_vote(certain))


@equation("PR-9")
def nearest_words(draw):
    """argmax_w pᵀw / |p||w| for each row p of P
    Lester et al. 2021, §7"""
    model, words, n = draw.model(layers=0), draw.words(), draw.size(1, draw.V)
    W, start = columns(model).tokens.W, tuple(int(word) for word in words)
    γ = PromptTuning(len(words), init="text", words=start).attach(model, draw.rng)
    ids, cosines = nearest(γ.at["tokens"]["P"], model.tokens.W)
    yield words[:, None], ids, EXACT  # before training
    yield np.ones((len(words), 1)), cosines
    P = draw.array(len(W), draw.size(1, 4))
    literal_ids, literal_cosines = sort_by_cosine(P, W)
    ids, cosines = nearest(P.T, model.tokens.W, n)
    yield literal_ids[:, :n], ids, EXACT
    yield literal_cosines[:, :n], cosines
    yield literal_ids[:, :n], nearest(7 * P.T, model.tokens.W, n)[0], EXACT


@equation("PR-11")
def many_tasks(draw):
    """one batch with prompts of different tasks equals one run for each task
    Lester et al. 2021, fig. 1; Prompting notes, §1.1.2"""
    model, lengths = draw.model(), [draw.size(1, 4) for _ in range(3)]
    θ, texts = columns(model), [draw.words() for _ in lengths]
    tasks = [draw.adaptation(PromptTuning(k), model) for k in lengths]
    ids, mask = draw.padded(texts)
    library = columns(model(ids, Each(tasks), mask=mask))
    for x, γ, row, real in zip(texts, tasks, library, mask):
        yield with_prompt(θ, *columns(γ)[0], x), row[:, real]
