"""Prompting: a task becomes text for a language model, by templates, verbalizers and examples."""
