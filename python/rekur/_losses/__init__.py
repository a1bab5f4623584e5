"""What :mod:`rekur.losses` is made of: the base, losses of one's own, and those beyond the engine's."""
