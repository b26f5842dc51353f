"""Training an adaptation, on threads, and saving a training that can be resumed exactly."""
