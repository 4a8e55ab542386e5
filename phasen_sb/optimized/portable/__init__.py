"""The layers of the optimised network in PyTorch, for any CPU."""
