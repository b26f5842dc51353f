"""Automatic differentiation of NumPy and CuPy arrays: tensors, operations, layers, devices."""
