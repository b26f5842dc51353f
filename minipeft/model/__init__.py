"""Networks.  They know no method: they call every layer through a Forward."""
