"""Adapters to inference engines, each named in the engine's own configuration."""
