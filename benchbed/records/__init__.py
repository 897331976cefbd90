"""The run record, its store and its provenance."""
