"""One file per inventory format: text in, targets or bad lines out."""
