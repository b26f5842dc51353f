"""A small world in plain English, from a grammar of our own: what a tiny language model is
pretrained on (`language`), its tokens (`vocabulary`), and a task to adapt it to (`sentiment`).
"""
