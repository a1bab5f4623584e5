"""What :mod:`rekur.sequences` is made of."""
