"""Checks of a reader's own methods and functions: laws, equations, usual slips, and exercises."""
