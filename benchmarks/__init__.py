"""Benchmarks: minipeft against PyTorch with PEFT, torch.compile and JAX on the same machine."""
