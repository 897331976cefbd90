"""Callbacks of `benchbed.evaluate`: what one is, and those for TensorBoard and Weights & Biases."""
