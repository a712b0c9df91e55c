"""The network for real: sockets, resolvers, TLS."""
