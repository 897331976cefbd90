"""The one loop every run goes through: optimiser, schedule, precision, determinism."""
