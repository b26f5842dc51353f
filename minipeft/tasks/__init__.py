"""What a frozen base is adapted to, comparisons of methods, and probes of layers."""
