"""Special tokens: the ids at which a text begins and ends."""

END = "<|endoftext|>"  # between the texts that GPT-2 and the built-in models were trained on


def bos_id(model, tokenizer=None) -> int | None:
    """Return the id that begins a text, or None; see `eos_ids`."""
    return next(iter(special_ids("bos", model, tokenizer)), None)


def eos_ids(model, tokenizer=None) -> list[int]:
    """Return the ids that end a text, [] if none is known.

    The first of these that names one in the model's vocabulary: generation_config.json and
    config.json of the model's folder; tokenizer_config.json and special_tokens_map.json of the
    tokenizer's folder; <|endoftext|>.  transformers reads config.json only if there is no
    generation_config.json, and nothing else.
    """
    return special_ids("eos", model, tokenizer)


def special_ids(name, model, tokenizer):
    """Return the ids of the special token "bos" or "eos"."""
    files = model.generation_config, model.folder_settings
    candidates = [settings.get(f"{name}_token_id") for settings in files]
    if tokenizer is not None:
        own = getattr(tokenizer, "special_tokens", {}).get(f"{name}_token", END)
        candidates += map(tokenizer.token_to_id, (own, END))
    for found in candidates:
        ids = found if isinstance(found, list) else [found]
        if ids := [i for i in ids if i is not None and 0 <= i < model.config.vocabulary]:
            return ids
    return []
