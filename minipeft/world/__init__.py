"""A small world of text from our own grammars: pretraining text, and tasks.  See README.md.

Grammar: `domains`, `language`.  Pretraining: `corpus`, `vocabulary`, `pretrain`.  Predictability:
`entropy`.  Tasks: `sentiment`, `nli` (with `quantifiers`), `table`, `qa`, `summary`, `topic`,
`tags`, `style`; each has `splits()`.  Facts that change: `chronicle`.  Human feedback without
humans: `feedback`, `facts`.  Nothing is computed on import.
"""
