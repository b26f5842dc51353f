"""Text and labels: files, splits, batches of token ids, metrics."""
