"""The only floor that touches the network."""
