"""The contract with everything that reads our output: columns, rows, lines."""
