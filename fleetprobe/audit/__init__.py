"""Pure conclusions over records: what many targets have in common."""
