"""Faults in generation: settings, logits, beam search, the end of a text."""

FAULTS = {
    "model/generate.py": {
        "model/test_generate.py": [
            ("return z.argmax(-1)", "return z.argmin(-1)"),
            ("warp(z, c) + rng", "z + rng"),
            ("warp(z, c) + rng", "warp(z, c) - rng"),
            ("rng.gumbel(", "rng.normal("),
            ("np.where(ended, c.pad, token)", "np.where(ended, token, c.pad)"),
            ("if ended.all():", "if ended.any():"),
            ("    if not isinstance(model, Decoder | EncoderDecoder):\n", "    if False:\n"),
            ("if c.temperature and rng is None:", "if False:"),
            ("next_logits(token[:, None], cache)", "next_logits(token[:, None], Cache())"),
            ("ids, cache.adaptation, mask)", "ids, cache.adaptation)"),
            ("    check_not_empty(inputs.real)\n", ""),
        ],
        "model/test_generate_settings.py": [
            ('argsort(inputs.real, axis=1, kind="stable")', "argsort(inputs.ids < 0, axis=1)"),
            ("np.where(known, inputs.ids, c.vocabulary)", "inputs.ids"),
            ("ended |= stopping", "ended = stopping"),
            ("tokens if stream else", ""),
            ("        if stream:\n", "        if False:\n"),
        ],
    },
    "model/logits.py": {
        "model/test_generate_settings.py": [
            ("z < 0, z * penalty, z / penalty", "z < 0, z / penalty, z * penalty"),
            ("np.where(seen[:, :-1],", "np.where(seen[:, 1:],"),
            ("if n < c.min_new_tokens", "if n <= c.min_new_tokens"),
            ("== 1\n", ">= 1\n"),
            ("n == c.max_new_tokens - 1", "n == c.max_new_tokens"),
            ("S - n + 1 :]).all", "S - n :]).all"),
            ("if S < n:", "if S <= n:"),
            ("np.where(same, windows[..., -1], V)", "np.where(same, windows[..., 0], V)"),
            ("np.partition(z, -k)[:, -k, None]", "np.partition(z, k)[:, k, None]"),
            ("k = min(k, z.shape[1])", "pass"),
            ("cumsum(1) <= 1 - p", "cumsum(1) <= p"),
            ("dropped[:, -least:] = False", "pass"),
            ("np.put_along_axis(unsorted, order, dropped, 1)", "unsorted[:] = dropped"),
        ],
    },
    "model/beam.py": {
        "model/test_generate_beams.py": [
            ("scores[:, 0] = 0", "scores[:] = 0"),
            ("| (n == N)", ""),
            ("sums + OUT * ended, K)  #", "sums, K)  #"),
            ("reorder(cache, rows[kept])", "cache"),
            ("adaptation=cache.adaptation)", "adaptation=Cache().adaptation)"),
            ("least = max(2, 1 + len(c.eos))", "least = 1"),
            ("new = ended & (np.arange(M) < K)", "new = ended"),
            ("sums / LENGTHS[c.length_formula](n, c.length_penalty)", "sums"),
            ("& (c.early_stopping is True))", "& False)"),
            ("noise = rng.gumbel(size=sums.shape)", "noise = rng.normal(size=sums.shape)"),
            ("best.lengths[:, 0].max()", "best.lengths.max()"),
        ],
    },
    "model/stopping.py": {
        "model/test_generate.py model/test_generate_settings.py": [
            ("history[:, -1], self.eos", "history[:, -1], self.eos[:1]"),
            ("any(string in text", "all(string in text"),
            ("before + row[-n:])", "row[-n:])"),
        ],
    },
    "model/generation_config.py": {
        "model/test_generate_settings.py": [
            ("((5 + n) / 6) ** α", "((5 + n) / 5) ** α"),
            ("replace(config, **given)", "config"),
            ("found | given:", "found:"),
            ("max(0, length - width)", "length"),
            ("length - width if name", "length if name"),
            ('        found.pop("temperature", None)\n', "        pass\n"),
            ("    if config.num_beams > vocabulary:", "    if False:"),
        ],
    },
}
