"""The failure codes as data."""
