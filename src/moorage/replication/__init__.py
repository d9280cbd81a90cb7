"""Artifacts move between registries by themselves."""
