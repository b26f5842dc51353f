"""A small world in plain English, from grammars of our own; README.md tells what is in it.

What there is to try (`domains`), what is said of it (`language`), all that the bases read
(`corpus`, `vocabulary`, `pretrain`), how predictable it is (`entropy`), and the tasks (`sentiment`,
`nli`, `table`, `topic`, `tags`, `style`).
"""
