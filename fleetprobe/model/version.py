"""The one place where the version stands."""

VERSION = "0.1.0"
RULES_VERSION = "4"
"""Changes whenever a judge may say something else about the same facts."""
