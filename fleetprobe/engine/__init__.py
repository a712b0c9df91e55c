"""Drives targets through the climb: one until decided, many within bounds."""
