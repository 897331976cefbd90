"""Records to ranking statistics and markdown; pure."""
