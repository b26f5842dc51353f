"""Faults in what an inspection computes."""

PASS = "inspection/test_recording.py -k 'gpt2 or t5 or spans or of_scale_0 or the_odds'"
VIEW = "inspection/test_inspect.py -k 'not every_method'"
EVERY = "inspection/test_inspect.py -k 'every_method and (gpt2 or t5)'"
OWN = "inspection/test_mechanisms.py"

FAULTS = {
    "inspection/recording.py": {
        PASS: [
            ("if s == 0 else y + s * (super().__call__(layer, x) - y)", "if s == 0 else y"),
            ("y + s * (super().__call__(layer, x) - y)", "super().__call__(layer, x) * s"),
            ("return Tensor(self.known[layer.path])", "return x"),
            ("scores = q @ k.swapaxes(-1, -2) * layer.scale", "scores = q @ k.swapaxes(-1, -2)"),
            ("scores = scores + host(bias.data)", "pass"),
            ("np.where(host(masked), LOWEST, scores)", "scores"),
            ("q = layer.positions.turn(Tensor(", "q = (lambda x, _: x)(Tensor("),
            ("each[-np.size(s) if np.ndim(s) else 0 :] = s", "each[:] = np.max(s)"),
            ("rows = np.ones(self.virtual_keys.sum()), ~self.virtual", "rows = 1, 1"),
            (
                "np.ix_(rows | (np.ndim(s) > 0), self.virtual_keys)",
                "np.ix_(rows, ~self.virtual_keys)",
            ),
            ("return gate if bias is None else bias + gate", "return gate"),
            ("order[: order.index(here)]", "order[: order.index(here) + 1]"),
            ("self.logits = z[0].T", "self.logits = z[0]"),
        ],
    },
    "inspection/reader.py": {
        VIEW: [
            ("np.cumsum(real) - 1, -1)", "np.cumsum(real), -1)"),
            ("log_p[:-1], targets[1:]", "log_p[1:], targets[1:]"),
            ("z - logsumexp(z)[..., None]", "z"),
            (
                "(np.exp(log_p) * (log_p - log_q)).sum(-1)",
                "(np.exp(log_q) * (log_p - log_q)).sum(-1)",
            ),
        ],
    },
    "inspection/view.py": {
        VIEW: [
            ("size(adapted[:, read] - frozen[:, column[read]])", "size(adapted[:, read])"),
            ("norm[read] = size(frozen[:, column[read]])", "norm[read] = size(adapted[:, read])"),
            (
                "((only, zero, 1.0), (without, passed, 0.0))",
                "((only, passed, 1.0), (without, zero, 0.0))",
            ),
            ("inside if place(path) == here else 1.0 - inside", "inside"),
            ("x = forward(trunk.ln, x) if", "x = x if"),
            ("order = np.argsort(-np", "order = np.argsort(np"),
            ("words[np.argsort(first)]", "words"),
        ],
        EVERY: [
            ("if id(p) not in counted", "if True"),
            (
                "z = host(model(ids, Each([r.γ for r in readers])",
                "z = host(model(ids, Each([readers[0].γ] * 2)",
            ),
        ],
    },
    "inspection/mechanisms.py": {
        OWN: [
            ("σ = method.scale * np.linalg.svd", "σ = np.linalg.svd"),
            ("np.linalg.qr(B.T)[1].T  # has", "np.linalg.qr(B.T)[1]  # has"),
            ("m / np.linalg.norm(W, axis=0)", "m / np.linalg.norm(W, axis=1).mean()"),
            ("gelu(Tensor(look.h @ D + b))", "gelu(Tensor(look.h @ D))"),
            ("np.argsort(-abs(z - around), kind", "np.argsort(-abs(z), kind"),
            ("pairs = [(θ[n].reshape(W.shape) - W, W)", "pairs = [(θ[n].reshape(W.shape), W)"),
            ("size / mean, rows, terms=terms", "size, rows, terms=terms"),
            ("float((z > 0).mean())", "float((z < 0).mean())"),
            (
                "recording.recorded[look.path][0], [str",
                "recording.recorded[look.path][-1] * 0, [str",
            ),
            ("*scores, scores[0] - scores[1]]", "*scores, scores[0]]"),
        ],
        EVERY: [
            ("λ[..., None] * part(a.virtual, virtual)", "part(a.virtual, virtual)"),
            ("np.exp(virtual - np.logaddexp(virtual, words))", "np.exp(virtual - words)"),
        ],
        "inspection/test_inspect.py -k worth": [
            ("(number != i).astype(float)", "(number == i).astype(float)"),
            ("worth - whole, names", "worth, names"),
        ],
    },
    "inspection/report.py": {
        "inspection/test_page.py -k numbers_of_the_page": [
            (':.7g}"', ':.3g}"'),
            ("abs(x) < -LOWEST / 2 else None", "True else None"),
        ],
    },
    "inspection/page.py": {
        "inspection/test_page.py -k text_can_not": [('.replace("<", "\\\\u003c")', "")],
    },
}
