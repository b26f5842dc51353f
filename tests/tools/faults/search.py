"""Faults in the search for prompts, and in the model of lm-evaluation-harness."""

SEARCH = "prompting/test_search.py"
HARNESS = "prompting/test_harness.py"
EQUATIONS = "equations/test_equations.py -k 'test_holds and DS-'"
COMMAND = "commands/test_search_command.py"

FAULTS = {
    "prompting/autoprompt.py": {
        EQUATIONS: [
            ("(h * gradient).sum(1, keepdims=True) - gradient @ E.T", "gradient @ E.T"),
            (").sum(1, keepdims=True) - gradient", ").sum(1, keepdims=True) + gradient"),
        ],
        SEARCH: [
            ("np.argsort(-falls,", "np.argsort(falls,"),
            ("] = -np.inf  # not", "] = np.inf  # not"),
            ("int(np.argmin(losses))", "int(np.argmax(losses))"),
            ("[loss, *Pool().map", "[loss + 9, *Pool().map"),
            (
                "[*prompt[:i], int(self.words[w]), *prompt[i + 1 :]]",
                "[int(self.words[w])] * len(prompt)",
            ),
            ("return 2 + self.candidates", "return 1 + self.candidates"),
            ("rows = self.embeddings[list(prompt)]", "rows = self.embeddings[list(prompt)] * 1.01"),
        ],
    },
    "prompting/mining.py": {
        SEARCH: [
            ("[^{ENDS}]*?", ".*?"),
            ("*?) *{edge", "*) *{edge"),
            ("(y[-1])})", "(' ')})"),
            ("{edge(y[0])}", ""),
            ('middle.count(" ") < longest', 'middle.count(" ") <= longest'),
            ("if middle and", "if"),
            ("found += middle", "found = middle"),
            ('f"{x} {middle}', 'f"{{x}} {middle}'),
        ],
    },
    "tasks/search.py": {
        SEARCH: [
            ("max(found, key=lambda one: one.dev)", "min(found, key=lambda one: one.dev)"),
            ("best.readings = len(found) *", "best.readings = 1 *"),
            ("found.readings += steps * cost", "found.readings += cost"),
            ("found.readings += 2 * self.batch * steps", "found.readings += self.batch * steps"),
            ("found.readings = 0", "found.readings = 1"),
            ("if self.budget < (least := max(", "if self.budget < -1 + (least := max("),
            ("words or self.words", "self.words"),
        ],
    },
    "prompting/harness.py": {
        HARNESS: [
            ("[-room:]", "[:room]"),
            ("(context or [self.prefix_token_id])", "context"),
            ("ids, mask = pad([row[:-1] for row in rows])", "ids, mask = pad(rows)"),
            ("room = self.max_length + 1  #", "room = self.max_length  #"),
            ("== targets) | (targets < 0)", "== targets)"),
            ("if not 0 < len(continuation) <= self.max_length:", "if not continuation:"),
            ("virtual_positions(model, self.adaptation) + len(self.layout([]))", "0"),
            ("if found := [", "if found := [0] or ["),
        ],
    },
    "commands/search.py": {
        COMMAND: [
            ("if self.data and self.task:", "if False:"),
            ("if self.data and not (self.template and self.words):", "if False:"),
            ("check_classes(examples, words, files[split] or self.data)", "pass"),
            ("for name in () if self.data else", "for name in () if True else"),
            ('settings["corpus"] = ', 'settings["unread"] = '),
        ],
    },
}
