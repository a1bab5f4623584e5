"""What the commands ``rekur forecast``, ``classify``, ``detect``, ``generate`` and ``predict`` do, a module each."""
