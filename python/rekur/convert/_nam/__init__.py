"""Neural Amp Modeler's networks without recurrence: as its files say them, and models that are such ones."""
