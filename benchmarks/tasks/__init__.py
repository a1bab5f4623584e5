"""Whole tasks on real data: ours beside baselines and peers, accuracy and time (`python -m benchmarks.tasks`)."""
