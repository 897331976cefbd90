"""Scores of any resample of the evaluation pictures, from what is kept beside a record."""
