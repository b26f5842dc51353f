"""Faults in the trace of a forward pass."""

LAW = "inspection/test_trace.py -k 'what_the_model_computes and (gpt2 or t5 or llama)'"
LISTED = "inspection/test_trace.py -k 'names_equations or what_its_equation'"

FAULTS = {
    "inspection/trace.py": {
        LAW: [
            ("scores if bias is None else scores + bias", "scores"),
            ("np.where(host(masked), -np.inf, scores)", "scores"),
            ("scores = attn.scale * q @", "scores = q @"),
            ("bias, masked=masked, scale=attn.scale)", "bias, masked=masked)"),
            ("bias, masked=masked, scale=attn.scale)", "None, masked=masked, scale=attn.scale)"),
            ("join_heads(weights @ v)", "join_heads(weights @ k)"),
        ],
        LISTED: [
            ("h = self.names[id(self.calls[h].x)]", "pass"),
            ("inputs |= m.at[path]", "pass"),
            ("inputs = x | layer.tensors()", "inputs = x"),
            ("fewer = x.shape[1] < self", "fewer = x.shape[1] <= self"),
            ("fewer = x.shape[1] < self", "fewer = x.shape[1] > self"),
            ("x | {name: call.base}", "x | {name: call.y}"),
            ('equation = f"[P_{n}; {n[0]}{how}], by head" if front else equation', "pass"),
            ("front.rows[0]} | inputs", "front.rows[0]}"),
        ],
        "inspection/test_trace.py -k 'order_in_which'": [
            ('last_name(path) == "o"', 'last_name(path) == "q"'),
        ],
        "inspection/test_trace.py -k 'names_equations and prefix'": [
            ("call.y is not call.base and", "True and"),
        ],
        "inspection/test_trace.py -k 'changed_input'": [
            ("self.input_name(parent, self.calls[parent].x)", "pass"),
            ('if not last.startswith(f"{parent}."):', "if False:"),
        ],
        "inspection/test_trace.py -k 'rows_of_prefixes'": [
            ('(methods := self.adapting(path, "apply"))', "(methods := self.leaves)"),
        ],
        "inspection/test_trace.py -k 'reparametrised'": [
            ("as_adaptation(adaptation).resolve()", "as_adaptation(adaptation)"),
        ],
    },
    "inspection/tracer.py": {
        LAW: [
            ("replace(self, parts=tuple(map(f, self.parts)))", "Tracer(*map(f, self.parts))"),
            ("y = super().__call__(once, x)", "y = base"),
        ],
        "inspection/test_trace.py -k 'changed_input'": [
            ("base if z is x else layer(z)", "base"),
        ],
        "inspection/test_trace.py -k 'shared_prompt'": [
            ("shared = False", "shared = True"),
        ],
    },
    "inspection/source.py": {
        "inspection/test_trace.py -k 'line_of_a_step'": [
            ("enumerate(lines[start - 1 :], start)", "enumerate(lines[start:], start)"),
            ("enumerate(lines[start - 1 :], start)", "enumerate(lines, start)"),
            ("unwrap(function).__code__", "function.__code__"),
            ('re.search(r"\\b\\d{4}", rest[-1])', "False"),
        ],
    },
    "inspection/claims.py": {
        "inspection/test_claims.py": [
            (
                "return innermost(inner) if isinstance(inner, GeneratorType) else generator",
                "return generator",
            ),
            ("if first <= line <= last", "if first < line <= last"),
            ("n.lineno < side.lineno and", "True and"),
            ("max(above, key", "min(above, key"),
            ("return sides_of(value.body)", "pass"),
            ('"differ" if isinstance', '"equal" if isinstance'),
            ("error if np.isfinite(error) else None", "error"),
            ("x.ravel()[:SHOWN]", "x.ravel()[1:SHOWN]"),
            ("sides = claim.sides", "sides = claim.literal, claim.library"),
        ],
    },
}
