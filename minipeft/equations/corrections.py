"""What is wrong or damaged in the documents, what is so, and which entry shows it."""

from typing import NamedTuple


class Correction(NamedTuple):
    document: str
    says: str
    so: str
    entry: str = ""  # the id of an equation; none: a claim, which no equation can show


CORRECTIONS = {
    "X1": Correction("003", "K_in = [P_key, K]", "K_prefix = [P_key, K]", "PF-2"),
    "X2": Correction("003", "an empty block of mathematics", "nothing is missing there", "PF-2"),
    "X3": Correction("003", "V_constant = [P_constant, V]", "V_prefix = [P_value, V]", "PF-2"),
    "X4": Correction("003", "θ = Attn-op(…)", "head = Attn-op(Q, K_prefix, V_prefix)", "PF-2"),
    "X5": Correction("003", "formulas that lost letters", "Attn-op, and the risk", "AT-1"),
    "X6": Correction(
        "003",
        "1.3B InstructGPT is preferred in 85 % of cases to 175B GPT-3",
        "that is the 175B model, 85 ± 3 %; for 1.3B there is no such number",
    ),
    "X7": Correction("003", "the best of several outputs is marked", "4 to 9 outputs are ranked"),
    "X8": Correction("003", "ROUGE-L: subsequences of length L", "the longest common subsequence"),
    "X9": Correction("003", "less than 1 % of parameters", "of BART-large 2.4 to 6.7 %", "1.15"),
    "X10": Correction(
        "003", "fine-tuning takes a tenth of the learning rate or less", "a habit, no rule", "EQ-FT"
    ),
    "X11": Correction(
        "003", "weights of zero: a prefix does nothing", "if all are zero, W_o too", "EQ-LIGHT"
    ),
    "X12": Correction("003", "Prompt tuning v2", "P-tuning v2", "P2-1"),
    "X13": Correction(
        "003", "prompt tuning is better out of domain", "on four of six sets, worse on two"
    ),
    "X14": Correction(
        "003", "a prefix is slightly below fine-tuning", "on XSum; above on E2E and WebNLG"
    ),
    "X15": Correction(
        "003", "adapters stand between layers", "Houlsby: two inside each; Pfeiffer: one", "AD-3"
    ),
    "X16": Correction("000", "a prefix of size [blank]", "|P_idx| × 2·N·d", "PF-9"),
    "X17": Correction(
        "000", "a prefix joins the input of each block", "those are deep prompts", "PF-7"
    ),
    "X18": Correction("000", "prefixes have 10 to 50 rows", "4 to 224 in the papers", "P2-1"),
    "X19": Correction("001", "[PREFIX; x; PREFIX'; y] is lost", 'twice "encoder"', "PF-12"),
    "X20": Correction(
        "001", "P-tuning v2 has no reparametrisation", "it helps some tasks, hurts others", "P2-1"
    ),
    "X21": Correction("001", "GPT-3 is fine-tuned", "in context it learns without a gradient"),
    "X22": Correction(
        "001", "P-tuning leaves the model frozen", "on LAMA; on SuperGLUE it is tuned, too", "PT-5"
    ),
    "X23": Correction(
        "002", "two ways to start a prompt", "PEFT has a third, of random words", "PR-5"
    ),
    "X24": Correction("PEFT", "a prefix of zeros is a no-op", "it takes from the heads", "PF-6"),
    "X25": Correction(
        "003", "25 % less toxic", "if asked to be respectful; if asked for the contrary, more"
    ),
}
