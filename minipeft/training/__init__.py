"""Training of adaptations, on threads, and checkpoints from which a training is resumed exactly."""
