"""Keras's files: configurations and weights, read and written without Keras."""
