"""TLS: the handshake completes, and the certificates say who the peer is."""
