"""What :mod:`rekur.metrics` is made of: the base, metrics of one's own, and those that are imported when asked for."""
