"""The whole zoo: all of its servers, made anew."""

from __future__ import annotations

from tests.zoo import chains, constraints, handshakes, names, upgrades
from tests.zoo.authorities import authorities
from tests.zoo.book import Book


def write_book(octet: int, v6_port: int) -> Book:
    """Every server with its certificates, on 127.`octet`.0.0/16 and from `v6_port` on of ::1."""
    book, known = Book(octet, v6_port), authorities()
    for room in (chains, names, constraints, handshakes, upgrades):
        room.write(book, known)
    return book
