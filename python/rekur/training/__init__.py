"""Training and inference over arrays: what stands between ``fit`` and the engine's single step."""
