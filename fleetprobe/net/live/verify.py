"""A chain put together by hand, verified by the same OpenSSL and against the same anchors as the handshakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from OpenSSL import SSL, crypto

from fleetprobe.net.verified import UNVERIFIABLE, Verified

_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of openssl/x509_vfy.h, which pyOpenSSL does not name."""
_DATES: Final = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED."""


class Verifier:
    """Two stores of the same anchors: the second one never looks at the calendar."""

    def __init__(self, context: SSL.Context, load: Callable[[], SSL.Context]) -> None:
        """A context with the anchors in it, and a way to make another one."""
        self._load = load
        self._context = context
        self._timeless: SSL.Context | None = None

    def verify(self, chain: Sequence[bytes]) -> Verified:
        """Leaf first, in DER; whatever else is in the chain OpenSSL takes where it needs it.

        Raises UnusableTrust where the anchors are wanted once more and cannot be read any longer.
        """
        try:
            leaf, *others = (crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in chain)
        except (crypto.Error, ValueError):
            return UNVERIFIABLE
        errors, path = _once(self._context, leaf, others)
        if errors and errors[0][0] in _DATES:
            # pyOpenSSL keeps the path to itself when anything is wrong, and here only the calendar is.
            if self._timeless is None:
                self._timeless = self._load()
                _store(self._timeless).set_flags(_NO_CHECK_TIME)
            path = _once(self._timeless, leaf, others)[1]
        return Verified(errors, path)


def _store(context: SSL.Context) -> crypto.X509Store:
    """The store of a context, which lives no longer than the context does."""
    store = context.get_cert_store()
    assert store is not None
    return store


def _once(
    context: SSL.Context, leaf: crypto.X509, others: Sequence[crypto.X509]
) -> tuple[tuple[tuple[int, int], ...], tuple[bytes, ...]]:
    try:
        path = crypto.X509StoreContext(_store(context), leaf, others).get_verified_chain()
    except crypto.X509StoreContextError as no:
        code, depth = no.errors[:2]
        return ((code, depth),), ()
    except crypto.Error:
        return UNVERIFIABLE.errors, ()
    return (), tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in path)
