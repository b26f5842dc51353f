"""Networks.  They contain no method: they call every layer through a Forward, which adapts it."""
