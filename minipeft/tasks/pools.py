"""Which hidden states of a text a new head reads: what suits the base, or what it asks for."""

from ..data.files import DataError
from ..model.heads import has_pooler

MODES = {  # fields of sentence-transformers' 1_Pooling/config.json: our pool, None: not supported
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": None,
    "pooling_mode_mean_sqrt_len_tokens": None,
    "pooling_mode_weightedmean_tokens": None,
}
NAMES = {  # the values of its field pooling_mode
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


def pools_for(base) -> list[str]:
    """Return the pools that suit a base model, the usual one of its kind first.

    It is a decoder's last token, an encoder's [CLS] after its pooler, or, without one, the mean.
    """
    if base.causal:
        return ["last", "mean"]
    return ["cls", "first", "mean"] if has_pooler(base) else ["mean", "first"]


def folder_pool(base) -> str | None:
    """Return the pool that the base's folder asks for in 1_Pooling/config.json, None without one.

    Raises DataError for pooling that is not supported.
    """
    settings = base.pooling_config
    if not settings:
        return None
    if name := settings.get("pooling_mode"):
        modes = [NAMES.get(name, name)] if isinstance(name, str) else [str(name)]
    else:
        default = {"pooling_mode_mean_tokens": True}
        modes = [mode for mode in MODES if settings.field(mode, default.get(mode, False), bool)]
    if len(modes) != 1 or not MODES.get(modes[0]):
        asked = " and ".join(mode.removeprefix("pooling_mode_") for mode in modes) or "nothing"
        raise DataError(
            f"{settings.path} asks for pooling by {asked:.100}, which is not supported, only by "
            "cls_token, by mean_tokens or by lasttoken: choose a pool with --pool"
        )
    return MODES[modes[0]]
