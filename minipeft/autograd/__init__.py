"""Arrays with derivatives: tensors, operations, layers, devices."""
