"""One room per layer: its facts, its probe, its judge."""
