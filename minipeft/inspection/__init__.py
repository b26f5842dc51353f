"""Looking inside: what an adaptation does, each step of a forward pass, gradients, and claims."""
