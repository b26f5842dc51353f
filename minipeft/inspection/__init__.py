"""Looking inside: what an adaptation does, each step of a forward pass, checks of own methods."""
