"""Frozen models of the YAML in tasks/ and backbones/: strict loading and content hashes."""
