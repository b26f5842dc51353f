"""Faults in encoder–decoders: their two stacks, relative positions, and folders."""

LAWS = "model/test_encoder_decoder.py"

FAULTS = {
    "model/encoder_decoder.py": {
        LAWS: [
            ("        if cache.source is None:\n", "        if True:\n"),
            ("forward.real, None)", "inputs.real, None)"),
            ("filled[:, :-1]], 1)", "filled[:, 1:]], 1)"),
            ("all_rows=True", "all_rows=False"),
            ("start if padding is None else padding", "start"),
            ("return check_labels(labels, None", "return check_labels(labels, mask"),
            ("    self.decoder.tokens.W = self.encoder.tokens.W\n", "    pass\n"),
        ],
        "equations/test_equations.py -k 'test_holds and (ED-2 or ED-3 or PF-12)'": [
            ("causal=True, layers", "layers"),
            ("layers=config.decoder_layers", "layers=config.layers"),
            ("cross=True)", "cross=False)"),
            ("        if self.config.scaled_head:\n", "        if False:\n"),
            ("h * self.config.width**-0.5", "h * self.config.width"),
        ],
    },
    "model/blocks.py": {
        "equations/test_equations.py -k 'test_holds and (ED-2 or ED-3 or PF-12)'": [
            (
                "[forward(self.k, h), forward(self.v, h)]",
                "[forward(self.v, h), forward(self.k, h)]",
            ),
            ("replace(c, causal=False)", "c"),
            ("h = h + forward(self.cross, forward(self.ln3, h))", "pass"),
            ("forward(self.cross, forward(self.ln3, h))", "forward(self.cross, h)"),
            ("h = forward(self.ln3, h + forward(self.cross, h))", "h = forward(self.ln3, h)"),
            ("forward.bias(self.positions, real), ", "None, "),
        ],
    },
    "model/positions.py": {
        "equations/test_equations.py -k 'test_holds and (ED-1 or ED-2)'": [
            ("else buckets // 2", "else buckets"),
            ("np.maximum(-distance, 0)", "np.maximum(distance, 0)"),
            ("np.minimum(far, n - 1)", "far"),
            ("(not causal) * (distance > 0)", "(not causal) * (distance < 0)"),
            ("at[:, None] - at[:, S - T :, None]", "at[:, S - T :, None] - at[:, None]"),
            ("(0, 3, 4, 1, 2))", "(0, 3, 4, 2, 1))"),
        ],
        LAWS: [
            ("if one_distance(at, real):", "if True:"),
            ("forward.rows_of(self), 0)", "1, 0)"),
            ("((start == first) | ~real)", "(start == first)"),
        ],
    },
    "adaptation/forward.py": {
        "equations/test_equations.py -k 'test_holds and (ED-2 or PF-12)'": [
            ("project(h), real)", "project(h), real)\n        k = v"),
        ],
        LAWS: [
            ("return *front.rows, front.real", "return *front.rows[::-1], front.real"),
            (
                "real, None)\n        return k, v, real\n\n    def mask",
                "real[:, :0], None)\n        return k, v, real\n\n    def mask",
            ),
            ("key = real.tobytes(), causal", "key = real.tobytes()"),
            ("key = positions.path, real.tobytes()", "key = real.tobytes()"),
        ],
    },
    "adaptation/cache.py": {
        LAWS: [("source=self.source and pick(self.source)", "source=self.source")],
    },
    "hf/models/t5.py": {
        "hf/test_models.py -k encoder_decoder": [
            ("T5_GATED if self.to_config(settings).gated else T5", "T5"),
            ('feed_forward("wi_1", gate="wi_0")', 'feed_forward("wi_1", gate="wi")'),
            ('(("encoder", 1), ("decoder", 2))', '(("encoder", 1), ("decoder", 1))'),
        ],
        "hf/test_config.py": [
            ('"num_decoder_layers", layers, int', '"num_layers", layers, int'),
        ],
    },
}
