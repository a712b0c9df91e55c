"""The http rung: one request, one response, read within bounds."""
