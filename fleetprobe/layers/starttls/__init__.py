"""The plain-text dialogues that end in TLS on the same connection (STARTTLS and its kin)."""
