"""Faults in templates with a slot, verbalizers, calibration and examples in context."""

EQUATIONS = "equations/test_equations.py -k 'test_holds and (VB- or IC- or EN-)'"
TEMPLATE = (
    "methods/test_template.py -k 'why_prompts or filled or filters or each_text or only or slot'"
)
CLASSIFIER = "prompting/test_classifier.py -k 'not if_alone'"
WORDS = "prompting/test_calibration_and_words.py"
COMMAND = "commands/test_shots.py"

FAULTS = {
    "methods/segments.py": {
        TEMPLATE: [
            ("part.rstrip() if following == SLOT", "part if following == SLOT"),
            ("text.lstrip()", "text"),
            ("continuation(tokenizer, text) if begun", "plain(tokenizer, text) if False"),
            ("return first + ids + last", "return ids"),
            ("isinstance(part, str) and merged and isinstance(merged[-1], str)", "False"),
            ('plain(tokenizer, "x" + text)', 'plain(tokenizer, "x") + plain(tokenizer, text)[1:]'),
            ("code.special_tokens_mask.index(0), code", "0, code"),
        ],
    },
    "methods/template.py": {
        TEMPLATE: [
            ('"prefix" if self.pieces[-1] == SLOT', '"prefix" if self.pieces[0] == SLOT'),
            ("if self.pieces.count(SLOT) > 1:", "if False:"),
            ("return before[len(before.rstrip()) :]", "return before[: len(before.rstrip())]"),
            ('("text_a", "text_b")', '("text_b", "text_a")'),
            ("len(ids) > room", "len(ids) > room + 1"),
            ('if "whole" not in place.filters', ""),
            ("kept[max(kept, key", "kept[min(kept, key"),
            ("if sum(kept.values()) == 0:", "if False:"),
            ("for name in self.filters:", "for name in ():"),
            ("self.words[self.length] = piece[3:-1]", "self.words[0] = piece[3:-1]"),
        ],
        "methods/test_template.py -k 'pieces or slip or layout or place'": [
            ("if len(self.names) != len(texts) or not", "if not"),
        ],
    },
    "methods/pseudo.py": {
        "methods/test_template.py -k soft": [
            ('encoded(f" {word}", model', "encoded(word, model"),
            ("layer.W.data[[*ids]].mean(0)", "layer.W.data[[*ids]].sum(0) * 2"),
        ],
    },
    "prompting/slots.py": {
        EQUATIONS: [
            ("(c, word + back) for c", "(c, word) for c"),
            ("len(text) - 1] for text", "0] for text"),
            ("+ np.array(after)[:, None]", ""),
            ("[mask_id(self.tokenizer)] * n", "[0] * n"),
            ("positions = np.array(starts)[:, None]", "positions = 0 * np.array(starts)[:, None]"),
        ],
        CLASSIFIER: [
            ("if n >= SHARED else", "if n >= 0 else"),
            ("zip(first, last)) if a != b), len(first))", "zip(first, last)) if a == b), 0)"),
            ("self.begin if id == SLOT else", "[0] if id == SLOT else"),
            ('[] if shape == "prefix" else', '[] if shape == "cloze" else'),
            ("if self.begin == [None]:", "if False:"),
            ("np.arange(labels.shape[1]) < len(self.begin)", "np.arange(labels.shape[1]) < 0"),
        ],
        COMMAND: [("        return [bos]\n", "        return []\n")],
    },
    "prompting/verbalizer.py": {
        EQUATIONS: [
            ("np.eye(len(counts)), counts, axis", "np.eye(len(counts))[::-1], counts, axis"),
            ("self.membership / self.membership.sum(0)", "self.membership"),
            ('if self.combine == "mean":', 'if self.combine == "sum":'),
            ("matmul(exp(scores - most @ M.T), M)) + most", "matmul(exp(scores - most @ M.T), M))"),
        ],
        CLASSIFIER: [
            ("(value := getattr(self, name)) not in known", "getattr(self, name) in ()"),
            ("len(listed) < 2 or", ""),
            ("self.all_words.count(w) > 1", "self.all_words.count(w) > 2"),
        ],
        WORDS: [('f"{i}. {option}"', 'f"{option}"')],
    },
    "prompting/classifier.py": {
        EQUATIONS: [
            ("self.template.space + word", "word"),
            ("np.asarray(1 / lengths", "np.asarray(lengths"),
            ("ids = ids[:1] if", "ids = ids[:2] if"),
            ("return [self.instruction, *(part for", "return [*(part for"),
        ],
        CLASSIFIER: [
            ("if self.template.shape is None:", "if False:"),
            ("if other != word:", "if False:"),
            ("if label not in words:", "if False:"),
            ("if len(texts) != len(labels):", "if False:"),
            ("((ids == SLOT).sum(1) != 1).any()", "False"),
            ("- max(map(len, self.words)) + 1", ""),
            ("self.examples[len(self.examples) - n :]", "self.examples[:n]"),
            ("words[label][0]), separator]", "words[label][-1]), separator]"),
            ("instruction and instruction + separator", "instruction"),
            ("count or len(targets))", "1)"),
        ],
    },
    "prompting/heads.py": {
        EQUATIONS: [
            ("2 * c.T, -(c**2).sum(1)", "c.T, -(c**2).sum(1)"),
            ("2 * c.T, -(c**2).sum(1)", "2 * c.T, 0"),
        ],
        WORDS: [
            ("0 if b is None else b @ mean", "0"),
            ("[labels == y].mean(0)", "[labels != y].mean(0)"),
        ],
    },
    "prompting/calibration.py": {
        EQUATIONS: [("score = log_p - log_prior", "score = log_p + log_prior")],
        WORDS: [
            ("log_prior.shape != log_p.shape[1:]", "False"),
            ("np.isfinite(log_p).all() and", ""),
            ("and np.isfinite(log_prior).all()", ""),
        ],
    },
    "prompting/examples.py": {
        WORDS: [
            ("range(shots) for group in classes", "range(shots) for group in classes[:2]"),
            ("[chosen[i] for i in rng.permutation(shots)]", "chosen"),
            ("if not 0 <= shots <= len(turns):", "if not 0 <= shots:"),
        ],
    },
    "prompting/words.py": {
        WORDS: [
            ("if len({*words}) == C", "if True"),
            ("text.isalpha() and", ""),
            ("if not C <= candidates <= len(ids):", "if not C <= candidates:"),
        ],
    },
    "commands/shots.py": {
        COMMAND: [
            ("if example not in shown", ""),
            ("calibrate(log_p, prior))", "log_p)"),
            ("{*words, None})", "{*words})"),
            ("min(prompted.shots(text", "max(prompted.shots(text"),
            ("[split for split, examples in tests.items() if not examples]", "[]"),
            ("[: command.limit]", ""),
        ],
    },
}
