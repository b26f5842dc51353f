"""The families, tasks and methods of the oracles, and which of them PEFT does not support."""

from fnmatch import fnmatch

B, T, NV, V = 3, 7, 5, 61  # texts, tokens, virtual tokens, vocabulary

GQA = dict(num_key_value_heads=2, intermediate_size=24, bos_token_id=None, eos_token_id=None)
FAMILIES = {  # class of the configuration, and its settings
    "gpt2": ("GPT2Config", dict(n_inner=24, bos_token_id=None, eos_token_id=None)),
    "llama": ("LlamaConfig", GQA),
    "qwen2": ("Qwen2Config", GQA | dict(tie_word_embeddings=True)),
    "mistral": ("MistralConfig", GQA | dict(sliding_window=5, head_dim=6)),
    "bert": ("BertConfig", dict(intermediate_size=24)),
    "roberta": ("RobertaConfig", dict(intermediate_size=24, type_vocab_size=1)),
    "distilbert": ("DistilBertConfig", dict(hidden_dim=24)),
}
ABSOLUTE = "gpt2", "bert", "distilbert"  # positions count the columns
DECODERS = "gpt2", "llama", "qwen2", "mistral"
FAMILIES |= {  # encoder–decoders
    "t5": (
        "T5Config",
        dict(num_decoder_layers=2, d_kv=4, d_ff=24)
        | dict(relative_attention_num_buckets=8, relative_attention_max_distance=12)
        | dict(decoder_start_token_id=0, eos_token_id=None),
    ),
    "bart": (
        "BartConfig",
        dict(d_model=16, encoder_layers=3, decoder_layers=3, num_hidden_layers=3)
        | dict(encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=24)
        | dict(decoder_ffn_dim=24, decoder_start_token_id=2, forced_eos_token_id=None)
        | dict(bos_token_id=None, eos_token_id=None),
    ),
}
SEQ2SEQ = "SEQ_2_SEQ_LM"
KEPT = "gpt2", "llama", "qwen2", "mistral", "bert"  # also in `fixed`; the others only live
TASKS = {  # PEFT's name: transformers'
    "CAUSAL_LM": "CausalLM",
    "MASKED_LM": "MaskedLM",
    "SEQ_CLS": "SequenceClassification",
    "TOKEN_CLS": "TokenClassification",
    "QUESTION_ANS": "QuestionAnswering",
    "FEATURE_EXTRACTION": "",
    SEQ2SEQ: "Seq2SeqLM",
}
HEADS = ["score", "classifier", "qa_outputs"]
PARTS = {  # names of a family's modules that methods need
    "gpt2": dict(
        embeddings=["wte", "wpe"],
        linear=["c_attn", "c_fc"],
        pattern=r".*h\.1\.(attn\.c_attn|mlp\.c_fc)",
        exclude=["attn.c_proj"],
        rank={"c_fc": 3},
        alpha={r"h\.0\.mlp\.c_fc": 5},
        norm=["ln_f"],
        norms=None,
        ia3=["attn.c_proj", "c_fc"],
        ia3_in=["c_fc"],
    ),
    "llama": dict(
        embeddings=["embed_tokens"],
        linear=["k_proj", "v_proj", "up_proj"],
        pattern=r".*layers\.1\.(self_attn\.[kq]_proj|mlp\.gate_proj)",
        exclude=["o_proj", "down_proj"],
        rank={"v_proj": 3},
        alpha={r"layers\.0\.self_attn\.v_proj": 5},
        norm=["post_attention_layernorm"],
        norms=None,
        ia3=["q_proj", "o_proj", "up_proj"],
        ia3_in=["o_proj"],
    ),
    "bert": dict(
        embeddings=["word_embeddings"],
        linear=["key", "value", "intermediate.dense"],
        pattern=r".*layer\.1\.(attention\.self\.key|intermediate\.dense)",
        exclude=["attention.output.dense"],
        rank={"value": 3},
        alpha={r"layer\.0\.attention\.self\.value": 5},
        norm=["attention.output.LayerNorm"],
        norms=["LayerNorm"],
        ia3=["query", "intermediate.dense"],
        ia3_in=["intermediate.dense"],
    ),
}
PARTS["distilbert"] = dict(
    embeddings=["word_embeddings"],
    linear=["k_lin", "v_lin", "lin1"],
    pattern=r".*layer\.1\.(attention\.k_lin|ffn\.lin1)",
    exclude=["out_lin", "pre_classifier"],
    rank={"v_lin": 3},
    alpha={r"layer\.0\.attention\.v_lin": 5},
    norm=["sa_layer_norm"],
    norms=["sa_layer_norm", "output_layer_norm"],
    ia3=["q_lin", "ffn.lin1"],
    ia3_in=["ffn.lin1"],
    default=dict(lora=["q_lin", "v_lin"], ia3=["k_lin", "v_lin", "lin2"], ia3_in=["lin2"]),
    sizes=dict(token_dim=16, num_layers=2, num_attention_heads=4),
)
PARTS["t5"] = dict(
    embeddings=["embed_tokens"],
    linear=["k", "v", "wi"],
    pattern=r".*block\.1\.layer\.\d\.(SelfAttention\.[kq]|DenseReluDense\.wi)",
    exclude=["o", "wo"],
    rank={"v": 3},
    alpha={r"block\.0\.layer\.0\.SelfAttention\.v": 5},
    norm=["final_layer_norm"],
    norms=["layer_norm", "final_layer_norm"],
    ia3=["q", "o", "wi"],
    ia3_in=["o"],
    sizes=dict(num_transformer_submodules=2),
)
PARTS["bart"] = dict(
    embeddings=["embed_tokens"],
    linear=["k_proj", "v_proj", "fc1"],
    pattern=r".*layers\.1\.(self_attn\.[kq]_proj|fc1)",
    exclude=["out_proj", "fc2"],
    rank={"v_proj": 3},
    alpha={r"layers\.0\.self_attn\.v_proj": 5},
    norm=["layernorm_embedding"],
    norms=["self_attn_layer_norm", "final_layer_norm"],
    ia3=["q_proj", "out_proj", "fc1"],
    ia3_in=["out_proj"],
    sizes=dict(num_transformer_submodules=2),
)
PARTS["qwen2"] = PARTS["mistral"] = PARTS["llama"]
PARTS["roberta"] = PARTS["bert"]


def configurations(part, task=None):
    """Return {name: (class of PEFT's configuration, its settings)}, for the PARTS of a family."""
    sizes, default = (part.get(name, {}) for name in ("sizes", "default"))  # that PEFT needs
    virtual = {"num_virtual_tokens": NV} | sizes
    prompt = lambda **more: ("PromptTuningConfig", virtual | more)
    ptuning = lambda **more: ("PromptEncoderConfig", virtual | more)
    prefix = lambda **more: ("PrefixTuningConfig", virtual | more)
    lora = lambda targets=None, **more: (
        "LoraConfig",
        {"r": 4, "lora_alpha": 6, "target_modules": targets or default.get("lora")} | more,
    )
    scaled = dict(target_modules=default.get("ia3"), feedforward_modules=default.get("ia3_in"))
    ia3 = lambda **more: ("IA3Config", scaled | more)
    norms = lambda targets: ("LNTuningConfig", {"target_modules": targets})
    lstm = {"encoder_reparameterization_type": "LSTM"}
    linear, head = part["linear"], ["lm_head"] * (task == "CAUSAL_LM")
    return {
        "prompt": prompt(),
        "ptuning-mlp": ptuning(),
        "ptuning-mlp-half": ptuning(encoder_hidden_size=8),
        "ptuning-lstm": ptuning(**lstm, encoder_num_layers=1),
        "ptuning-lstm-half": ptuning(**lstm, encoder_hidden_size=8),
        "prefix": prefix(),
        "prefix-projection": prefix(prefix_projection=True, encoder_hidden_size=8),
        "lora": lora(),
        "lora-rslora": lora(use_rslora=True),
        "lora-dora": lora(linear, use_dora=True),
        "lora-bias-all": lora(bias="all"),
        "lora-bias-own": lora(linear, bias="lora_only"),
        "lora-all": lora("all-linear"),
        "lora-exclude": lora("all-linear", exclude_modules=part["exclude"] + HEADS),
        "lora-pattern": lora(part["pattern"]),
        "lora-layers": lora(linear, layers_to_transform=[1]),
        "lora-ranks": lora(linear, rank_pattern=part["rank"], alpha_pattern=part["alpha"]),
        "lora-embeddings": lora(part["embeddings"] + linear[:1]),
        "lora-modules": lora(modules_to_save=part["norm"] + head),
        "ia3": ia3(),
        "ia3-other": ia3(target_modules=part["ia3"], feedforward_modules=part["ia3_in"]),
        "norms": norms(part["norms"]),
        "norms-one": norms(part["norm"]),
    }


METHODS = [*configurations(PARTS["bert"])]
PROMPTS = ("prompt", "ptuning-*")  # virtual tokens before the text; PEFT drops position ids
ROWS = (*PROMPTS, "prefix*")
ENCODED = ("ptuning-*", "prefix-*")  # whose reparametrisation network PEFT does not save

IMPOSSIBLE = [  # family, task, method, why
    ("*bert*", "CAUSAL_LM", "*", "they are bidirectional"),
    *((family, "MASKED_LM", "*", "it is causal") for family in DECODERS),
    *(("*", "MASKED_LM", method, "PEFT has no such task") for method in ROWS),
    ("*", "TOKEN_CLS", "lora-all", "PEFT adapts the head and saves it whole: TypeError"),
    ("*", "QUESTION_ANS", "lora-all", "PEFT adapts the head and saves it whole: TypeError"),
    ("distilbert", "SEQ_CLS", "lora-all", "PEFT adapts the head and saves it whole: TypeError"),
    ("distilbert", "*", "prefix*", "its network takes no keys and values"),
    *(
        (family, "FEATURE_EXTRACTION", "lora-layers", "PEFT finds no block numbers in their names")
        for family in DECODERS
    ),
]
LEFT_OUT = [  # family, task, method, case, why
    ("mistral", "*", "prefix*", "left", "the window counts padding between prefix and text"),
]
NO_LOSS = [  # family, task, method, case, why the loss is not compared
    *(("*", "TOKEN_CLS", m, "*", "PEFT has too few labels: ValueError") for m in PROMPTS),
    ("mistral", "QUESTION_ANS", "prefix*", "right", "for padding, the window counts columns"),
    ("*", "QUESTION_ANS", "lora-embeddings", "right", "padding has no gradient"),
]
WRONG = [  # family, task, method, case, in what PEFT is wrong; elsewhere we agree without compat
    ("*", "*", "prompt", "left", "padding stands between prompt and text and has positions"),
    ("*", "*", "ptuning-*", "left", "padding stands between prompt and text and has positions"),
    ("*", "SEQ_CLS", "prompt", "*", "a virtual token or the padding is pooled"),
    ("*", "SEQ_CLS", "ptuning-*", "*", "a virtual token or the padding is pooled"),
    ("*bert*", "SEQ_CLS", "*", "left", "the padding is pooled"),
    *(("bert", "FEATURE_EXTRACTION", method, "types", "they are dropped") for method in ROWS),
    ("bert", "QUESTION_ANS", "*", "types", "they are dropped"),
    *((f, "QUESTION_ANS", "*", "left", "padding has positions") for f in ABSOLUTE),
    ("*", "QUESTION_ANS", "prefix*", "left", "padding has positions"),
]


IMPOSSIBLE += [
    (family, task, "*", "one of the two has both stacks, the other has not")
    for family in FAMILIES
    for task in TASKS
    if (family in ("t5", "bart")) != (task == SEQ2SEQ)
]
WRONG += [("bart", SEQ2SEQ, "*", "left", "padding has positions")]


def like(name, patterns):
    """Return whether a name matches one of several patterns, with * for any text."""
    return any(fnmatch(name, p) for p in patterns)


def listed(table, *names):
    """Return whether a row of the table matches these names."""
    return any(all(map(fnmatch, names, row)) for row in table)


def possible(family, task):
    """Return the methods that PEFT has for a family and a task."""
    return [m for m in METHODS if not listed(IMPOSSIBLE, family, task, m)]
