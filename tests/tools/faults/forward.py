"""Faults in the forward pass, in the KV cache, in merging, and in the patterns of paths."""

FAULTS = {
    "adaptation/forward.py": {
        (
            "equations/test_equations.py -k 'test_holds and (AT-1 or AT-4 or PF-1 or PB-4 or PR-1)'"
        ): [
            ("[concat(rows, x, axis=1) for rows", "[concat(x, rows, axis=1) for rows"),
            (
                "return xs, np.concatenate([front.real, real], 1)",
                "return xs, np.concatenate([real, front.real], 1)",
            ),
            ("return shift[:, None] + np.maximum(count - 1, 0)", "return np.maximum(count - 1, 0)"),
            ("return shift[:, None] + np.maximum(count - 1, 0)", "return shift[:, None] + count"),
            ("count = real.cumsum(1)[:, real.shape[1] - T :]", "count = real.cumsum(1)[:, :T]"),
            ("column > column[S - T :, None]", "column >= column[S - T :, None]"),
            ("column > column[S - T :, None]", "column > column[:T, None]"),
            ("if causal and T > 1", "if causal and T > 7"),
            ("if causal and T > 1", "if T > 1"),
            ("if causal and T > 1", "if causal and False"),
            (
                "cache.shift = prefix.shift if prefix else np.zeros(len(real), int)",
                "cache.shift = np.zeros(len(real), int)",
            ),
            (
                "front = self.cache.kv.get(layer.path) or self.front(layer, k.shape[0])",
                "front = self.cache.kv.get(layer.path)",
            ),
            (
                "(k, v), real = prepend(front, [k, v], self.real)",
                "(k, v), real = prepend(front, [k, v], self.real)\n        k, v = v, k",
            ),
            ("return adaptation(layer, x)", "return layer(x)"),
        ],
        (
            "model/test_transformer.py -k '(padding or rows_asked or prompt_read) and "
            "(gpt2 or bert) and not device and (plain or chain or prompt or prefix)'"
        ): [
            ("real.cumsum(1)[:, real.shape", "real.cumsum(0)[:, real.shape"),
            ("column = np.arange(S)", "column = np.arange(S)[::-1]"),
            ("~real[:, None", "real[:, None"),
            ("    if not real.all():\n        masks.append", "    if False:\n        masks.append"),
            ("reduce(or_, masks) if masks", "reduce(lambda a, b: a & b, masks) if masks"),
            ("reduce(or_, masks) if masks", "masks[0] if masks"),
            ("reduce(or_, masks) if masks", "masks[-1] if masks"),
            ("lookup(h, self.positions + self.prompt)", "lookup(h, self.positions)"),
            ("narrow(h, self.prompt, None, axis=1)", "narrow(h, 0, -self.prompt, axis=1)"),
            ("key = real.tobytes()", "key = len(real)"),
            ("if block is not self.last or", "if"),
            ("or not self.prompt and self.positions is None:", "or self.positions is None:"),
        ],
        ("model/test_transformer.py -k 'window or llama and padding and (plain or lora)'"): [
            ("if window and S > window:", "if window and S > window + 1:"),
            ("if window and S > window:", "if window and T > window and False:"),
            (">= window", "> window"),
            (
                "at = real.cumsum(1) if positions is None else positions",
                "at = np.ones_like(real).cumsum(1) if positions is None else positions",
            ),
            ("        masks.append(far[:, None, None])\n", "        pass\n"),
        ],
        "laws/test_laws.py -k 'parts and llama and (plain or lora)'": [
            ("if window and S > window:", "if window and T > window:"),
            ("at[:, S - T :, None] - at[:, None]", "at[:, :T, None] - at[:, None]"),
        ],
        (
            "laws/test_laws.py -k 'parts and gpt2 and not device and (encoded or "
            "mixture or p-tuning)'"
        ): [
            (
                "self.real, cache.real = real, np.concatenate([cache.real, real], 1)",
                "self.real, cache.real = real, np.concatenate([real, cache.real], 1)",
            ),
            (
                "real, None)\n        return k, v, real\n\n    def source",
                "real[:, :0], None)\n        return k, v, real\n\n    def source",
            ),
            (
                "Front([k, v], real, None)\n        return k, v, real\n\n    def source",
                "None\n        return k, v, real\n\n    def source",
            ),
            ("counted = position_ids(cache.real, ", "counted = position_ids(self.real, "),
        ],
        ("laws/test_laws.py -k 'asked_for_once and gpt2 and not device and (prefix or prompt)'"): [
            ("if layer.path not in self.fronts:", "if True:"),
            ("self.fronts = fronts or {}", "self.fronts = {}"),
        ],
        "model/test_position_ids.py": [
            (
                "self.position_ids = counted if given_ids is None else given_ids",
                "self.position_ids = counted",
            ),
            (
                "cache.position_ids = np.concatenate([*before, given_ids], 1)",
                "cache.position_ids = given_ids",
            ),
            ("return given if np.shape(given) == real.shape else ", "return "),
            ("at = real.cumsum(1) if positions is None else positions", "at = real.cumsum(1)"),
        ],
    },
    "adaptation/cache.py": {
        (
            "laws/test_laws.py -k 'parts and gpt2 and not device and (encoded or "
            "mixture or p-tuning)'"
        ): [
            (
                "Front([take(x, rows) for x in front.rows], front.real[rows], None)",
                "Front([take(x, rows) for x in front.rows], front.real, None)",
            ),
            (
                "Front([take(x, rows) for x in front.rows], front.real[rows], None)",
                "Front(front.rows, front.real[rows], None)",
            ),
            ("real=self.real[rows],", "real=self.real,"),
            ("shift=self.shift[rows],", "shift=self.shift,"),
            ("adaptation=self.adaptation.of(rows),", "adaptation=self.adaptation,"),
        ],
        "model/test_position_ids.py": [
            ("None if self.position_ids is None else self.position_ids[rows]", "self.position_ids"),
        ],
        "model/test_transformer.py -k 'prompt_read_once and gpt2'": [
            (
                "broadcast_to(x, (B, *x.shape[1:])) for x in front.rows]",
                "broadcast_to(x * 0.5, (B, *x.shape[1:])) for x in front.rows]",
            ),
            ("= many(one.real),", "= ~many(one.real),"),
            (", many(one.shift)", ", many(one.shift) + 1"),
            ("many = lambda x: np.repeat(x, B, axis=0)", "many = lambda x: x"),
        ],
        "methods/test_details.py -k 'dropout or drop'": [
            (
                "as_adaptation(adaptation).resolve(rng), keep",
                "as_adaptation(adaptation).resolve(), keep",
            ),
        ],
    },
    "adaptation/merge.py": {
        (
            "methods/test_merging.py methods/test_starts.py -k '(merg or tied or "
            "its_like or folded) and (gpt2 or its_like or tied)'"
        ): [
            ("t = changed.get(name, old)", "t = old"),
            ("if t is not new.setdefault(id(old), t):", "if new.setdefault(id(old), t) is None:"),
            (".data.reshape(t.shape).copy()", ".data.reshape(t.shape)"),
            ("map(lambda t: Tensor(new[id(t)].data", "map(lambda t: Tensor(new[id(t)].data * 1.01"),
            ("    check_model(resolved, model)\n", "    pass\n"),
            ("changed = resolved.merged(layer)", "changed = {}"),
            (
                "resolved, new = as_adaptation(adaptation).resolve(), {}",
                "resolved, new = as_adaptation(adaptation), {}",
            ),
            ("return adaptation.resolve().map(", "return adaptation.map("),
            ("parameter(p.data.copy())", "parameter(p.data * 1.01)"),
        ],
        "methods/test_merging.py -k 'as_many_rows and lora'": [
            ("    if resolved.users is not None:", "    if False:"),
        ],
    },
    "adaptation/patterns.py": {
        (
            "hf/test_hostile.py -k 'patterns_match or syntax or long_pattern or "
            "(by_name and lora and gpt2)'"
        ): [
            ("(path, timeout=SECONDS)", "(path)"),
            ("found.fullmatch if whole else found.search", "found.search"),
            (
                "found.fullmatch if whole else found.search",
                "found.match if not whole else found.fullmatch",
            ),
            ("regex.compile(pattern, regex.V0)", "regex.compile(pattern, regex.V1)"),
            ("or len(pattern) * repetitions(pattern) > LONGEST:", ":"),
            ("if len(pattern) > LONGEST or", "if"),
            ('if re.search(r"\\{(?!\\d*,?\\d*\\})", pattern):', "if False:"),
            ('        warnings.simplefilter("error")', '        warnings.simplefilter("ignore")'),
            ("        re.compile(pattern)\n", "        pass\n"),
            ("math.prod(max(map(int", "max(max(map(int"),
            (" OverflowError, RecursionError,", ""),
            ("    except TimeoutError:", "    except ZeroDivisionError:"),
        ],
    },
}
