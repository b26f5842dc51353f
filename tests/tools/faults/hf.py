"""Faults where a format of Hugging Face or PEFT gives a name, a shape or a default its meaning."""

FAULTS = {
    "hf/models/family.py": {
        "hf/test_fixed_oracle.py -k written_again": [
            ("arrays[name] = x.T if transposed else x", "arrays[name] = x"),
            ("self.conv1d and path.startswith", "path.startswith"),
            ('or config.tied_head and path == "head"', 'or path == "head"'),
            (
                "HEAD_SUFFIXES.get(type(model), self.lm_suffix)",
                'HEAD_SUFFIXES.get(type(model), "LMHeadModel")',
            ),
            ("return not (config.causal and network is Classifier)", "return not config.causal"),
            ("return [block + ours for", "return [ours for"),
            (
                "[block + ours for ours, other in self.layers.items() if other == name]",
                (
                    "[block + ours for ours, other in reversed(self.layers.items()) if other "
                    "== name]"
                ),
            ),
            ("return self.span_prefix(config)", 'return ""'),
        ],
        ("hf/test_fixed_oracle.py -k '(we_compute or written_again) and (SEQ or MASKED)'"): [
            ("|(pooler|dense|head|score)$", "|(pooler|dense|head)$"),
            ("|(pooler|dense|head|score)$", "|(dense|head|score)$"),
            (
                'DEFAULT_POOL = {True: "last", False: "cls"}',
                'DEFAULT_POOL = {True: "mean", False: "cls"}',
            ),
        ],
        "hf/test_models.py hf/test_broken_models.py hf/test_config.py": [
            ("config.tied_head or not name.startswith(head)", "True"),
            ("np.asarray(part, file.dtype)", 'np.asarray(part, "f4")'),
            ("        file.check_all_used()\n", "        pass\n"),
            ("if not np.array_equal(file.pop(name, x), x):", "if file.pop(name, x) is None:"),
            ("c.head_width * c.heads == c.width", "c.head_width == c.width"),
            ("None if c.ffn_width == 4 * c.width else c.ffn_width", "c.ffn_width"),
            ('vars(model).pop("pooler", None)', "pass"),
        ],
        "hf/test_carried.py": [
            ('({} if "model_type" in folder else special) | folder', "special | folder"),
            ("special) | folder | settings", "special) | settings | folder"),
            ("settings = own_type if", "settings = settings if"),
            ("        settings.check_depth()\n", ""),
            ('isinstance(value, list) and name == "eos_token_id"', "isinstance(value, list)"),
            ("all(type(i) is int for i in ids)", "all(isinstance(i, int) for i in ids)"),
        ],
    },
    "hf/tokenizer.py": {
        "hf/test_tokenizers.py": [
            ("    tokenizer.no_truncation()\n", ""),
            ("    tokenizer.no_padding()\n", ""),
            ('getattr(tokenizer.model, "dropout", None)', "None"),
            ("        ids |= zip(around.tokens, around.ids)", "        pass"),
            ("reset(Tokenizer.from_str(tokenizer.to_str()))", "reset(tokenizer)"),
            ("token is not None and ids[token] >= V", "len(ids) > V"),
        ],
        "hf/test_carried.py": [
            ('.get("folder_files", NEW)', '.get("files", NEW)'),
            ('("special_tokens_map.json", CONFIG)', '(CONFIG, "special_tokens_map.json")'),
            ("if content else {}", "if content is not token else {}"),
        ],
    },
    "hf/quantized.py": {
        "hf/test_quantized.py": [
            ("        if quantization:\n", "        if isinstance(quantization, dict):\n"),
            ('{"quant_method": method} | read_json(path)', "read_json(path)"),
            ("settings.get(name) is True", "name in settings"),
            ("* isinstance(method, str)", "* bool(method)"),
        ],
    },
    "hf/models/gpt2.py": {
        "hf/test_config.py": [
            ('("layer_norm_epsilon", 1e-5', '("layer_norm_epsilon", 1e-6'),
            ('("tie_word_embeddings", True', '("tie_word_embeddings", False'),
            ('("n_positions", 1024', '("n_positions", 512'),
            ('("gelu_new", "gelu_pytorch_tanh")', '("gelu_new", "gelu")'),
            ('"bos_token_id": None', '"bos_token_id": 50256'),
        ],
        "hf/test_fixed_oracle.py -k '(we_compute or written_again) and gpt2'": [
            (
                '"attn.q": "attn.c_attn",\n        "attn.k": "attn.c_attn"',
                '"attn.k": "attn.c_attn",\n        "attn.q": "attn.c_attn"',
            ),
            (
                '"attn.k": "attn.c_attn",\n        "attn.v": "attn.c_attn"',
                '"attn.v": "attn.c_attn",\n        "attn.k": "attn.c_attn"',
            ),
            ("conv1d=True", "conv1d=False"),
            ('TokenClassifier: "classifier"', 'TokenClassifier: "score"'),
            ('base_model_prefix="transformer."', 'base_model_prefix="model."'),
            ('"ln1": "ln_1",', '"ln1": "ln_2",'),
        ],
    },
    "hf/models/bert.py": {
        "hf/test_config.py": [
            ('("layer_norm_eps", 1e-12', '("layer_norm_eps", 1e-5'),
            ('("type_vocab_size", 2', '("type_vocab_size", 1'),
            ('"hidden_act": ("gelu",)', '"hidden_act": ("gelu", "gelu_new")'),
        ],
        "hf/test_fixed_oracle.py -k '(we_compute or written_again) and bert'": [
            (
                '"attn.q": "attention.self.query",\n        "attn.k": "attention.self.key"',
                '"attn.k": "attention.self.query",\n        "attn.q": "attention.self.key"',
            ),
            (
                '"attn.k": "attention.self.key",\n        "attn.v": "attention.self.value"',
                '"attn.v": "attention.self.key",\n        "attn.k": "attention.self.value"',
            ),
            ('"ln": "embeddings.LayerNorm"', '"ln1": "embeddings.LayerNorm"'),
            ('lm_suffix="ForMaskedLM"', 'lm_suffix="LMHeadModel"'),
        ],
        "hf/test_models.py -k first_bert": [
            ('"LayerNorm.gamma", "LayerNorm.weight"', '"LayerNorm.gamma", "LayerNorm.bias"'),
            ('r"embeddings\\.position_ids$|cls\\.seq', 'r"cls\\.seq'),
        ],
    },
    "hf/models/llama.py": {
        "hf/test_config.py": [
            ('("rms_norm_eps", 1e-6', '("rms_norm_eps", 1e-5'),
            ('"num_key_value_heads": 8,', '"num_key_value_heads": 32,'),
            ('"sliding_window": 4096,', '"sliding_window": None,'),
            ('if kind != "llama":', 'if kind == "qwen2":'),
            ("first <= 0, first < L", "first < 0, first < L"),
            (
                '    "low_freq_factor": float,\n    "high_freq_factor": float,',
                '    "high_freq_factor": float,\n    "low_freq_factor": float,',
            ),
            ('"num_key_value_heads": c.key_heads or c.heads', '"num_key_value_heads": c.heads'),
        ],
        ("hf/test_fixed_oracle.py -k '(we_compute or written_again) and (llama or mistral)'"): [
            (
                '"mlp.gate": "mlp.gate_proj",\n        "mlp.up": "mlp.up_proj"',
                '"mlp.up": "mlp.gate_proj",\n        "mlp.gate": "mlp.up_proj"',
            ),
            (
                '"attn.k": "self_attn.k_proj",\n        "attn.v": "self_attn.v_proj"',
                '"attn.v": "self_attn.k_proj",\n        "attn.k": "self_attn.v_proj"',
            ),
        ],
    },
    "hf/peft/lora.py": {
        "hf/test_fixed_oracle.py -k '(we_compute or written_again) and lora'": [
            ("columns = dict(zip(paths, np.split(", "columns = dict(zip(paths[::-1], np.split("),
            ('s.field("use_rslora", False, bool)', "False"),
            ('form.format("A"): A.T', 'form.format("A"): A'),
            ('form.format("B"): B.T}', 'form.format("B"): B[::-1].T}'),
            ('"use_dora": dora', '"use_dora": False'),
            ('names.of_module(module, "rank_pattern", r, int)', "r"),
            ('names.of_module(module, "alpha_pattern", alpha, float)', "alpha"),
        ],
        "hf/test_peft.py": [
            ('s.field("r", 8, int)', 's.field("r", 16, int)'),
            ('s.field("lora_alpha", 8, float)', 's.field("lora_alpha", 16, float)'),
            ('s.field("lora_dropout", 0.0, float)', "0.0"),
            ('if not np.array_equal(A.data, ps["A"].data):', "if False:"),
        ],
    },
    "hf/peft/ia3.py": {
        "hf/test_peft.py hf/test_fixed_oracle.py -k ia3": [
            ("np.split(l, n, axis=1)]", "np.split(l, n, axis=1)[::-1]]"),
            ("for p in paths], axis=1).T", "for p in paths[::-1]], axis=1).T"),
            ("(O * n, 1)).T", "(O * n, 1))[::-1].T"),
        ],
    },
    "hf/peft/prompts.py": {
        ("hf/test_fixed_oracle.py hf/test_adaptation_folders.py -k 'prefix or prompt'"): [
            ('zip(("P_key", "P_value"), np', 'zip(("P_value", "P_key"), np'),
            (
                'keys = peft_type == "PREFIX_TUNING", c.key_heads or c.heads',
                'keys = peft_type == "PREFIX_TUNING", c.heads',
            ),
            ('"num_virtual_tokens": method.length', '"num_virtual_tokens": P.shape[1]'),
            ('"num_transformer_submodules": stacks}', '"num_transformer_submodules": 2}'),
            ("and γ.method.shift_positions and", "and"),
            ("fits = {*γ.at} == {*blocks} and", "fits ="),
        ],
        "methods/test_gate.py": [('or getattr(γ.method, "gate", False)', "")],
        "hf/test_peft.py": [
            ("x if x.ndim == 3 else x[None]", "x"),
            ("(x if tasks > 1 else x[0]).astype", "x[0].astype"),
        ],
    },
    "hf/peft/compat.py": {
        "hf/test_differences.py hf/test_compat.py -k 'not page'": [
            (
                "m / Tensor(sqrt(sum_over(V * V, axis=-2, keepdims=True)).data)",
                "m / sqrt(sum_over(V * V, axis=-2, keepdims=True))",
            ),
            (
                "real = inputs.real if model.causal and not has_prompt else",
                "real = inputs.real if model.causal else",
            ),
            (
                "real = inputs.real if model.causal and not has_prompt else",
                "real = inputs.real if not has_prompt else",
            ),
            ("pad(real, True)", "pad(real, False)"),
            ("((0, 0), (P, 0)), constant_values", "((0, 0), (0, P)), constant_values"),
            ("targets = model.targets(labels)\n", "targets = model.targets(labels, mask)\n"),
            ("return count_columns(model), inputs, Chain", "return model, inputs, Chain"),
            ("start + np.arange(T)", "np.arange(T)"),
            ("start = prefix.shift[:, None] if prefix else 0", "start = 0"),
            ('self.task_type == "FEATURE_EXTRACTION" and (front or prefix)', "False"),
            ("if answers or self", "if self"),
            ("if not front.real.all():", "if False:"),
        ],
    },
    "hf/peft/naming.py": {
        "hf/test_names_of_modules.py": [
            ("self.full_name(m) in names or", ""),
            ("matches(field, names, name, whole=True)", "matches(field, names, name)"),
            ("not blocks or", "True or"),
        ],
        "hf/test_trained_modules.py": [
            ('accumulate(name.split("."), "{}.{}".format)', "[name]"),
        ],
    },
    "hf/peft/modules_to_save.py": {
        "hf/test_trained_modules.py": [
            ("if not np.array_equal(file.setdefault(new, x), x):", "if False:"),
            ("and not names.is_saved(other)", "and False"),
            ('if original and kind == "original_module":', "if False:"),
            ("if len(found) == 2 and", "if False and"),
            ("for path in paths if found else ():", "for path in ():"),
        ],
    },
    "hf/peft/native.py": {
        "hf/test_norms_of_dora.py": [
            ("if not np.isfinite(scale.data).all():", "if False:"),
            (
                "return check_norms(adaptation.replace",
                "return (lambda γ, *_: γ)(adaptation.replace",
            ),
        ],
    },
    "hf/peft/folder.py": {
        "commands/test_pools.py": [
            ('for name in ("weights", "pool")', 'for name in ("weights",)'),
            ("or pool not in (None, DEFAULT_POOL[c.causal])", ""),
        ],
        "hf/test_broken_adaptations.py hf/test_saved_before.py -k base": [
            ('for name in ("weights", "pool")', 'for name in ("pool",)'),
            (
                "if differ := [name for name in here if there[name] != here[name]]:",
                "if differ := []:",
            ),
        ],
    },
    "autograd/nn.py": {
        "hf/test_saved_before.py": [
            ("if TRUNK.match(path)", 'if path.startswith("positions")'),
        ],
        "hf/test_half_precision.py": [
            ('halves = x.astype("f2"), to_bfloat16(x)', "halves = x, to_bfloat16(x)"),
            ('halves = x.astype("f2"), to_bfloat16(x)', 'halves = x.astype("f2"), x'),
            ("return a == b or bool(", "return a == b and bool("),
        ],
    },
    "autograd/bfloat16.py": {
        "hf/test_half_precision.py": [
            ("(bits + 0x7FFF + (bits >> 16 & 1))", "(bits + 0x8000)"),
            ("(bits + 0x7FFF + (bits >> 16 & 1))", "(bits + 0)"),
            ("np.asarray(x, np.uint32) << 16", "np.asarray(x, np.uint32) << 15"),
        ],
    },
    "storage/safetensors.py": {
        "hf/test_models.py hf/test_adaptation_folders.py": [
            ('"F16": "<f2", "BF16": "<u2"', '"F16": "<f2", "BF16": "<f2"'),
            ("np.ascontiguousarray(x, dtype)", "np.asarray(x, dtype)"),
        ],
    },
}
