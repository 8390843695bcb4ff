"""What every process of the inspection system shares; imports neither ``edge`` nor ``ui``."""

__version__ = "0.1.0"
