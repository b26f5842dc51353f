"""Small tokenizers."""

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from tests.support.families import V


def letters(n=V):
    """Return a tokenizer of n letters, which puts "a" before a text and "b" between two."""
    tokenizer = Tokenizer(WordLevel({chr(97 + i): i for i in range(n)}, unk_token="a"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="a $A", pair="a $A b:1 $B:1", special_tokens=[("a", 0), ("b", 1)]
    )
    return tokenizer
