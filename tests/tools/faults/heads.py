"""Faults in heads, in ensembles, and in configurations."""

FAULTS = {
    "model/heads.py": {
        "model/test_transformer.py -k 'pool or probe or features'": [
            ("return np.argmax(mask", "return 0 * np.argmax(mask"),
            ("(mask / mask.sum(1, keepdims=True))", "(mask / T)"),
            ("(mask / mask.sum(1, keepdims=True))", "(mask / mask.sum(0, keepdims=True))"),
            ("(mask / mask", "((mask + 1) / mask"),
            (
                "return self.logits(Tensor(features), adaptation.resolve(rng))",
                "return self.score(Tensor(features))",
            ),
            (
                "return self.pooler.pooled(self.query.pooled(h, weights, forward), forward)",
                "return self.query.pooled(h, weights, forward)",
            ),
        ],
        (
            "model/test_transformer.py -k '(shards or padding or types) and (last or "
            "tags or cls) and not device and (plain or lora) or own_token'"
        ): [
            (
                "return cross_entropy(z, targets, count or max(1, (targets >= 0).sum()))",
                "return cross_entropy(z, targets, max(1, (targets >= 0).sum()))",
            ),
            (
                "z = self(x, adaptation, mask=mask, rng=rng, **inputs)\n",
                "z = self(x, adaptation, rng=rng, **inputs)\n",
            ),
            (
                "return check_labels(labels, mask, self.score",
                "return check_labels(labels[::-1], mask, self.score",
            ),
            (
                (
                    "return self.states(ids, adaptation, mask=mask, token_types=token_types, "
                    "rng=rng)"
                ),
                "return self.states(ids, adaptation, mask=mask, rng=rng)",
            ),
            (
                (
                    "return self.states(ids, adaptation, mask=mask, token_types=token_types, "
                    "rng=rng)"
                ),
                "return self.states(ids, adaptation, token_types=token_types, rng=rng)",
            ),
            (
                ("self.features(ids, adaptation, mask=mask, token_types=token_types, rng=rng)\n"),
                "self.features(ids, adaptation, mask=mask, rng=rng)\n",
            ),
            (
                "positions, weights = pooling(self.pool, inputs.real)",
                "positions, weights = pooling(self.pool, inputs.real | True)",
            ),
        ],
        ("model/test_inputs.py -k 'labels_of_a_classifier or has_no_class or one_label'"): [
            ("labels.max() >= C", "labels.max() > C"),
            ("labels.min() < 0 or", "labels.min() < -1 or"),
            ("    check_not_empty(mask)\n", ""),
            ("        check_targets(targets, z.shape[:-1])\n        return", "        return"),
        ],
        "equations/test_equations.py tasks/test_hidden_probes.py -k 'PB-6 or attention or query'": [
            ("forward(self, h), h))", "self(h), h))"),
            (", masked=weights[:, None, None] == 0)", ")"),
            ("masked=weights[:, None, None] == 0", "masked=weights[:, None, None] > 0"),
            ("reshape(pooled, (h.shape[0], 1, h.shape[-1]))", "matmul(weights, h[:, 0, 0])"),
            ('"attention": mean}', '"attention": last}'),
            ("np.random.default_rng(0), std=0.0, bias=False", "np.random.default_rng(0)"),
            ('"pooler", "query", "score"', '"pooler", "score"'),
        ],
        "model/test_transformer.py model/test_inputs.py -k span": [
            ("len(labels) != len(real) or (labels", "(labels"),
            ("(labels >= real.shape[1]).any()", "(labels > real.shape[1]).any()"),
            ("((labels == -100) | (labels >= 0) & there).all()", "((labels < 0) | there).all()"),
            ("((labels == -100) | (labels >= 0) & there).all()", "(labels >= -100).all()"),
            ("((labels == -100) | (labels >= 0) & there).all()", "there.all()"),
            ("np.finfo(z.dtype).min / 2", "-1.0"),
            ("or labels.shape[1] != 2", ""),
            ("cross_entropy(z + lowest", "cross_entropy(z"),
            (
                "z = transpose(self(x, adaptation, mask=mask, rng=rng, **inputs))",
                "z = transpose(self(x, rng=rng))",
            ),
        ],
        "hf/test_heads_on_disk.py hf/test_models.py": [
            ('NO_TRUNK = "head", "transform"', 'NO_TRUNK = "head", "norm"'),
            ('NO_TRUNK = "head", "transform"', 'NO_TRUNK = "transform", "ln"'),
        ],
    },
    "model/ensemble.py": {
        "model/test_ensemble.py": [
            ("e / e.sum(-1, keepdims=True)", "e / e.sum(0, keepdims=True)"),
            (
                "Each([γ for γ in adaptations for _ in range(B)])",
                "Each([γ for _ in range(B) for γ in adaptations])",
            ),
            ("token_types=repeat(token_types)", "token_types=None"),
            ("mask=repeat(mask)", "mask=None"),
            ("np.arange(p.shape[-1])).sum(0)", "np.arange(p.shape[-1])).max(0)"),
            ("np.log(np.maximum(p, np.finfo(p.dtype).tiny)).sum(0)", "p.sum(0)"),
            ("np.maximum(p, np.finfo(p.dtype).tiny)", "np.maximum(p, 0.1)"),
            ("votes == votes.max(-1, keepdims=True), logs, -np.inf", "votes >= 0, logs, -np.inf"),
            ("np.average(p, axis=0, weights=weights)", "np.average(p, axis=0)"),
            ("not 0 < weights.sum() < np.inf", "False"),
            ("if p.ndim != 3 or", "if"),
            ("not ((p >= 0) & (p <= 1)).all()", "not (p >= 0).all()"),
            ("if not adaptations or not isinstance", "if not isinstance"),
        ],
    },
    "model/config.py": {
        "equations/test_equations.py -k 'test_holds and (PB or PR-1 or LL-6)'": [
            ('"gelu": exact_gelu,', '"gelu": gelu,'),
            ('"gelu_tanh": gelu,', '"gelu_tanh": exact_gelu,'),
            ('"silu": silu}', '"silu": gelu}'),
        ],
        "model/test_inputs.py -k 'config'": [
            ("self.window or 1", "1"),
            ("if not getattr(self, name) > 0:", "if getattr(self, name) < 0:"),
            ("if self.heads % groups or", "if"),
            ("not self.head_width and self.width % self.heads", "False"),
            ('if self.positions == "rotary" and self.d % 2:', "if False:"),
            ("if not (factor > 0 and 0 <= low < high):", "if not factor > 0:"),
            ("if not {*self.biases} <= {*LINEARS}:", "if False:"),
        ],
        "model/test_inputs.py -k as_wide_as": [
            (
                "return self.head_width or self.width // self.heads",
                "return self.width // self.heads",
            ),
        ],
    },
}
