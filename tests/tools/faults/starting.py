"""Faults in what tells whether an adaptation does anything, and whether it can learn."""

FAULTS = {
    "inspection/divergence.py": {
        "inspection/test_divergence.py": [
            ("log_p - log_q", "log_q - log_p"),
            ("(np.exp(log_p) * (log_p - log_q))", "(np.exp(log_q) * (log_q - log_p))"),
            ("(log - logs.mean())", "(log + logs.mean())"),
            ("logs.std(ddof=1)", "logs.std(ddof=1) ** 2"),
            ("np.log(self.kl), np.log(self.random)", "self.kl, np.array(self.random)"),
            ("if np.isfinite(z) else None", "if True else None"),
            ("base = log_softmax(predict(head_of(γ)))", "base = log_softmax(predict(PLAIN))"),
            ("for path in m.at) and γ.parameters():", "for path in m.at) and False:"),
            ("{id(p): p for p in head_of(γ).parameters()}", "{}"),
            ("np.random.default_rng(seed), {id", "np.random.default_rng(0), {id"),
            ("for m in parts]\n    first", "for m in parts[::-1]]\n    first"),
            ("u * (np.linalg.norm(x - a)", "u * (np.linalg.norm(x)"),
            ("/ np.linalg.norm(u))", ")"),
            ("new = a + u", "new = u"),
            ("b * (np.linalg.norm(x) / np.linalg.norm(b))", "b"),
            ("if np.array_equal(a, b):", "if True:"),
            ("if np.array_equal(a, b):", "if False:"),
            ("== second.shape == p.shape", "== second.shape"),
            ("np.maximum(kl, 0)", "max(0, kl)"),
            ("γ = fold(γ)", "γ = γ"),
        ],
    },
    "commands/divergences.py": {
        "commands/test_divergences.py": [
            ("return [i * n // m for i in range(m)]", "return [0 for i in range(m)]"),
            ('task.examples_for(γ)["test"]', 'task.examples["test"]'),
            ("[targets >= 0]", "[targets >= 1]"),
            ("Layout(γ.template, tokenizer", "Layout(adaptation.template, tokenizer"),
            ('if z is None else f"{z:.1f}"', 'f"{z:.1f}" if z else ""'),
            ("if kl == 0:", "if False:"),
            ("abs(z) < CLEAR", "z < CLEAR"),
            ('"more" if z > 0 else "less"', '"less" if z > 0 else "more"'),
            ("if found is None or not", "if not"),
        ],
    },
}
