"""Errors in the source documents, what is right, and the equation that shows it."""

from typing import NamedTuple


class Correction(NamedTuple):
    """A wrong or damaged statement; `docs/sources.md` names the documents and prints them all."""

    document: str
    wrong: str
    right: str
    equation: str = ""  # id of the equation that shows it; none for a claim about experiments


ADAPTATION, PROMPTING, WHY = "Adaptation chapter", "Prompting notes", "Why prompts work"
PEFT_PAGE = "PEFT prompt-tuning page"

CORRECTIONS = {
    "X1": Correction(
        f"{ADAPTATION}, §11.2.3.3", "K_in = [P(i)_key, K]", "K_prefix = [P_key⁽ⁱ⁾, K]", "PF-2"
    ),
    "X2": Correction(
        f"{ADAPTATION}, §11.2.3.3",
        "an empty block between two formulas",
        "no formula is missing there; the block is an artefact of the conversion",
        "PF-2",
    ),
    "X3": Correction(
        f"{ADAPTATION}, §11.2.3.3",
        "V_constant = [P(i)_constant, V]",
        "V_prefix = [P_value⁽ⁱ⁾, V]",
        "PF-2",
    ),
    "X4": Correction(
        f"{ADAPTATION}, §11.2.3.3",
        "θ = Attn-op(Q, K_prefix, V_prefix)",
        "head_i = Attn-op(Q, K_prefix, V_prefix), for head i",
        "PF-2",
    ),
    "X5": Correction(
        f"{ADAPTATION}, §11.1.2 and §11.2.3.3",
        "the formulas of the risk and of Attn-op lack letters and a bracket",
        "γ_adapt = argmin_{γ∈Γ} 1/n Σ ℓ_task(γ, θ_LM, x_i, y_i) and "
        "Attn-op(Q, K, V) = V softmax(KᵀQ/√d)",
        "AT-1",
    ),
    "X6": Correction(
        f"{ADAPTATION}, §11.2.2.3",
        "InstructGPT of 1.3B parameters is preferred to GPT-3 of 175B in 85 % of cases",
        "InstructGPT of 175B is, in 85 ± 3 %; for 1.3B the paper has no such number "
        "(Ouyang et al. 2022, §4.1)",
    ),
    "X7": Correction(
        f"{ADAPTATION}, §11.2.2.3",
        "people mark the best of several outputs",
        "people rank 4 to 9 outputs (Ouyang et al. 2022, §3.5)",
        "RL-2",
    ),
    "X8": Correction(
        f"{ADAPTATION}, §11.2.3.4",
        "ROUGE-L counts matching subsequences of length L",
        "ROUGE-L uses the longest common subsequence (Lin 2004)",
        "ME-2",
    ),
    "X9": Correction(
        f"{ADAPTATION}, §11.2.3.5",
        "lightweight fine-tuning trains less than 1 % of the parameters",
        "the methods that He et al. 2022 compare on BART-large train 2.4 to 6.7 %",
        "1.15",
    ),
    "X10": Correction(
        f"{ADAPTATION}, §11.2.2",
        "fine-tuning usually has at most a tenth of the learning rate of pre-training",
        "this is a habit, not a rule; the first update of Adam is -lr · sign(g) at any rate",
        "EQ-FT",
    ),
    "X11": Correction(
        f"{ADAPTATION}, §11.2.3.4",
        "prompts and prefixes have no effect if the weights of the language model are 0",
        "this needs all weights to be 0; if W_q = W_k = W_v = 0 and W_o ≠ 0 a prefix has an effect",
        "EQ-LIGHT",
    ),
    "X12": Correction(
        f"{ADAPTATION}, §11.2.3.2",
        'the name "prompt tuning v2"',
        "P-tuning v2 (Liu et al. 2021b)",
        "P2-1",
    ),
    "X13": Correction(
        f"{ADAPTATION}, §11.2.3.4",
        "prompt tuning has a better F1 than fine-tuning outside its domain",
        "so on four of six data sets; on DuoRC and DROP it is worse (Lester et al. 2021, table 1)",
    ),
    "X14": Correction(
        f"{ADAPTATION}, §11.2.3.4",
        "inside its domain a prefix is slightly below fine-tuning",
        "so on XSum; on E2E and WebNLG it is above (Li & Liang 2021, tables 1 and 2)",
    ),
    "X15": Correction(
        f"{ADAPTATION}, §11.2.3.3",
        "adapters are between the layers",
        "they are inside: two in each layer (Houlsby et al. 2019), or one (Pfeiffer et al. 2021)",
        "AD-3",
    ),
    "X16": Correction(
        f"{PROMPTING}, §1.1.1",
        "a prefix is a matrix of size [missing]",
        "its size is k × 2·N·d, a key and a value of width d in each of N layers",
        "PF-9",
    ),
    "X17": Correction(
        f"{PROMPTING}, §1.1.1",
        "prefix tuning concatenates the soft prompt with the main input of each block",
        "these are deep prompts; prefix tuning concatenates with the keys and values",
        "PF-7",
    ),
    "X18": Correction(
        f"{PROMPTING}, §1.1.1",
        "prefixes usually have 10 to 50 tokens",
        "the papers use 4 to 224 (Li & Liang 2021; Liu et al. 2021b)",
        "P2-1",
    ),
    "X19": Correction(
        f"{WHY}, Prefix-Tuning",
        'two formulas are missing, and the text has "encoder" twice',
        "[PREFIX; x; y], and [PREFIX; x; PREFIX'; y] with prefixes of encoder and decoder "
        "(Li & Liang 2021, §4)",
        "PF-12",
    ),
    "X20": Correction(
        f"{WHY}, P-Tuning v2",
        "P-tuning v2 has no reparametrisation",
        "it is an option, which helps on some tasks and hurts on others (Liu et al. 2021b, §3.3)",
        "P2-1",
    ),
    "X21": Correction(
        f"{WHY}, GPT-3",
        "GPT-3 can be fine-tuned for a task",
        "it learns a task in its context, without a gradient (Brown et al. 2020, §2)",
    ),
    "X22": Correction(
        f"{WHY}, GPT Understands, Too",
        "P-tuning optimises the prompt alone",
        "so on LAMA; on SuperGLUE the authors train the language model too (Liu et al. 2021a)",
        "PT-5",
    ),
    "X23": Correction(
        f"{PEFT_PAGE}, prompt_tuning_init",
        "a prompt starts at random or from a text",
        "PEFT has a third start, from random words of the vocabulary; and for T5 its prompt has "
        "2 k rows, of which half are never read",
        "PR-5",
    ),
    "X24": Correction(
        "PEFT, docstring of PrefixTuningConfig",
        "a prefix that starts from zeros has no effect",
        "it scales every head by 1 - k/(k + Σ exp(s))",
        "PF-6",
    ),
    "X25": Correction(
        f"{ADAPTATION}, §11.2.2.3",
        "InstructGPT has 25 % fewer toxic outputs when asked to be respectful",
        "so only then: when asked for the contrary it has more (Ouyang et al. 2022, §4.2)",
    ),
}
