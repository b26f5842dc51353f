"""Models in EleutherAI's lm-evaluation-harness: pip install "minipeft[harness]".

The harness (PyPI: lm_eval) has hundreds of tasks.  `HarnessLM` is a model that it can evaluate:

    from lm_eval import simple_evaluate
    simple_evaluate(HarnessLM(model, tokenizer, adaptation), tasks=["lambada_openai"])
"""

from itertools import takewhile

from tokenizers import Tokenizer

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import as_adaptation
from ..autograd.backend import host
from ..autograd.functional import log_probability
from ..data.batches import pad
from ..methods.template import IGNORED, Layout
from ..model.encoder_decoder import EncoderDecoder
from ..model.generate import generate
from ..model.inputs import labelled_positions, virtual_positions
from ..model.special_tokens import bos_id, eos_ids
from ..model.transformer import Decoder
from ..training.parallel import map_batches

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.models.utils import (
        handle_stop_sequences,
        normalize_gen_kwargs,
        postprocess_generated_text,
    )
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError:
    raise ImportError(
        "minipeft.prompting.harness needs the lm-evaluation-harness: pip install "
        "'minipeft[harness]'"
    ) from None


class HarnessLM(TemplateLM):
    """Model of the harness, with the numbers of its own Hugging Face class, `HFLM`.

    model: a Decoder or an EncoderDecoder.  tokenizer: the model's.  adaptation: None: the frozen
    model.  batch_size: most texts in a forward pass.  max_gen_toks: most new tokens of a text,
    where a task does not say.
    Contexts that are too long are truncated on the left.  A template of the adaptation is around
    the context.
    """

    eot_token_id: int | None = None  # ends a text
    prefix_token_id: int = 0  # the context of a text without one

    def __init__(
        self,
        model: Decoder | EncoderDecoder,
        tokenizer: Tokenizer,
        adaptation: Adaptation | None = None,
        batch_size: int = 16,
        max_gen_toks: int = 256,
    ):
        super().__init__()
        if not isinstance(model, Decoder | EncoderDecoder):
            raise ValueError(
                f"HarnessLM needs a Decoder or an EncoderDecoder, not a {type(model).__name__}"
            )
        self.model, self.tokenizer, self.adaptation = model, tokenizer, as_adaptation(adaptation)
        self.batch_size, self.max_gen_toks = batch_size, max_gen_toks
        self.backend = "causal" if model.causal else "seq2seq"
        self.layout = Layout(self.adaptation.template, tokenizer, model)
        taken = virtual_positions(model, self.adaptation) + len(self.layout([]))
        self.max_length = model.config.length - taken  # of a text, in tokens
        self.eos = eos_ids(model, tokenizer)
        self.eot_token_id = next(iter(self.eos), None)
        self.prefix_token_id = self.first_token()

    def first_token(self):
        """Return the token that begins a text, or else ends it; as in HFLM, the tokenizer's own."""
        special = getattr(self.tokenizer, "special_tokens", {})
        names = [special.get(name, "") for name in ("bos_token", "eos_token")]
        ids = [*map(self.tokenizer.token_to_id, names), bos_id(self.model, self.tokenizer)]
        if found := [i for i in [*ids, self.eot_token_id] if i is not None]:
            return found[0]
        raise ValueError(
            "HarnessLM needs a token before a text without a context, and neither model nor "
            "tokenizer name one: set bos_token_id in the model's config.json"
        )

    def tok_encode(self, string, add_special_tokens=None, **_):
        if add_special_tokens is None:
            begin = self.tokenizer.decode([self.prefix_token_id], skip_special_tokens=False)
            add_special_tokens = not string.startswith(begin)
        return self.tokenizer.encode(string, add_special_tokens=add_special_tokens).ids

    def read(self, context, room):
        """Return what the model reads of a context: its last `room` ids, in the template."""
        return self.layout((context or [self.prefix_token_id])[-room:])

    # -- log-likelihoods

    def _loglikelihood_tokens(self, requests, **_):
        """Return (log p of the continuation, whether it is the greedy one) for each request.

        requests: tuples (any, token ids of the context, token ids of the continuation).
        """
        for text, _, continuation in requests:
            if not 0 < len(continuation) <= self.max_length:
                raise ValueError(
                    f"the continuation of {text!r:.200} has {len(continuation)} tokens, and must "
                    f"have 1 to {self.max_length}"
                )
        rows = [[*context, *continuation] for _, context, continuation in requests]
        score = lambda indices: self.score([requests[i][1:] for i in indices])
        return map_batches(score, rows, self.batch_size)

    def score(self, pairs):
        """Return (log p, whether greedy) of each pair (context, continuation) of token ids."""
        z, targets = self.logits(pairs)
        log_p = host(log_probability(z, targets).data).sum(1)
        greedy = (host(z.data).argmax(2) == targets) | (targets < 0)
        return list(zip(log_p.tolist(), greedy.all(1).tolist()))

    def logits(self, pairs):
        """Return logits (B, R, V), and targets (B, R): ids of the continuations, or -100."""
        if self.backend == "seq2seq":
            ids, mask = pad([self.read(context, self.max_length) for context, _ in pairs])
            targets, _ = pad([continuation for _, continuation in pairs], IGNORED)
            outputs = {"decoder_ids": self.model.shift_right(targets)}
        else:
            room = self.max_length + 1  # the last token is not read
            rows = [[*self.read(context, room - len(new)), *new] for context, new in pairs]
            ids, mask = pad([row[:-1] for row in rows])
            before = [[IGNORED] * (len(row) - 1 - len(new)) for row, (_, new) in zip(rows, pairs)]
            targets, _ = pad([[*a, *new] for a, (_, new) in zip(before, pairs)], IGNORED)
            positions, targets = labelled_positions(targets)
            outputs = {"positions": positions}
        return self.model(ids, self.adaptation, mask=mask, **outputs), targets

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        windows = [
            (i, *make_disjoint_window(window))
            for i, request in enumerate(requests)
            for window in get_rolling_token_windows(
                self.tok_encode(*request.args), self.prefix_token_id, self.max_length, 1
            )
        ]
        totals = [0.0] * len(requests)
        for (i, *_), (log_p, _) in zip(windows, self._loglikelihood_tokens(windows)):
            totals[i] += log_p
        return totals

    # -- generation

    def generate_until(self, requests, disable_tqdm=False):
        groups: dict[str, list[int]] = {}  # requests with the same settings
        for i, request in enumerate(requests):
            groups.setdefault(repr(request.args[1]), []).append(i)
        texts: dict[int, str] = {}
        for group in groups.values():
            contexts = [requests[i].args[0] for i in group]
            texts |= zip(group, self.continuations(contexts, requests[group[0]].args[1]))
        return [texts[i] for i in range(len(requests))]

    def continuations(self, contexts, settings):
        """Return the greedy continuation of each context, a text, with the harness's settings."""
        settings = normalize_gen_kwargs(settings, self.max_gen_toks)
        if settings.pop("do_sample"):
            raise ValueError("do_sample=True is not supported, only greedy decoding: remove it")
        end = self.tokenizer.decode(self.eos[:1], skip_special_tokens=False)
        until = [text for text in handle_stop_sequences(settings.pop("until"), end) if text]
        new = settings.pop("max_gen_toks")
        room = self.max_length - (new if self.model.causal else 0)
        if room < 1:
            raise ValueError(
                f"max_gen_toks={new} must be less than {self.max_length}, the tokens that the "
                "model can read"
            )
        rows = [self.read(self.tok_encode(context), room) for context in contexts]
        settings |= {"max_new_tokens": new, "temperature": 0.0}
        settings |= {"eos": self.eos, "stop_strings": until, "tokenizer": self.tokenizer}

        def texts(indices):
            ids, mask = pad([rows[i] for i in indices])
            tokens = generate(self.model, ids, self.adaptation, mask=mask, **settings)
            texts = [takewhile(lambda i: i not in self.eos, row) for row in tokens.tolist()]
            return [
                postprocess_generated_text(self.tokenizer.decode([*text]), until, None)
                for text in texts
            ]

        return map_batches(texts, rows, self.batch_size)
