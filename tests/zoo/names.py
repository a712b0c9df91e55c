"""Servers whose certificate is for other names, or for the right one in an unusual way."""

from __future__ import annotations

from tests.zoo.authorities import Authorities
from tests.zoo.book import DOMAIN, Book, Nginx, OpenSsl, Player, fails, ok, own_name

NGINX, OPENSSL = Nginx(), OpenSsl()
_MISNAMED = fails("tls.name_mismatch", how=("observed", "proven"), without=("tls.issuer_unknown", "tls.expired"))


def write(book: Book, known: Authorities) -> None:
    """All of them."""
    _other_names(book, known)
    _wildcards(book, known)
    _addresses(book, known)
    _unusual(book, known)


def _add(
    book: Book, known: Authorities, name: str, truth: str, player: Player, hosts: tuple[str, ...], asked: str | None,
    reason: str | None,
) -> None:
    """Asked by one name and holding others; with a reason the name does not fit."""
    chain = known.ours.chain(name, hosts=hosts)
    book.add(name, truth, player, chain, _MISNAMED if reason else ok(), host=asked, reason=reason)


def _other_names(book: Book, known: Authorities) -> None:
    _add(book, known, "k_name_mismatch", "for another name", NGINX, (f"else.{DOMAIN}",), None, "not_in_san")
    with_www = (f"www.shop.{DOMAIN}",)
    _add(book, known, "k_www_missing", "for the name with www alone", OPENSSL, with_www, f"shop.{DOMAIN}",
         "www")
    _add(book, known, "k_cn_only", "the name stands in the common name alone", NGINX, (), None, "cn_only")
    own = own_name("k_empty_subject")
    chain = known.ours.chain("k_empty_subject", name=None, hosts=(own,))
    book.add("k_empty_subject", "nothing: no subject, and the name where it belongs", OPENSSL, chain, ok())
    book.add(
        "k_sni_given", "nothing: asked by the name in its sni", NGINX, known.ours.chain("k_sni_given"), ok(),
        host=f"front.{DOMAIN}", sni=own_name("k_sni_given"),
    )


def _wildcards(book: Book, known: Authorities) -> None:
    star = (f"*.wild.{DOMAIN}",)
    for name, truth, player, hosts, asked, reason in (
        ("k_wildcard_ok", "nothing: a wildcard", NGINX, star, f"a.wild.{DOMAIN}", None),
        ("k_wildcard_too_deep", "a wildcard one label short", OPENSSL, star, f"a.b.wild.{DOMAIN}",
         "wildcard_covers_one_label"),
        ("k_wildcard_apex", "a wildcard, asked without the label", NGINX, star, f"wild.{DOMAIN}",
         "wildcard_does_not_cover_apex"),
        ("k_wildcard_partial", "a wildcard for half a label", OPENSSL, (f"f*.wild.{DOMAIN}",), f"foo.wild.{DOMAIN}",
         "partial_wildcard"),
        ("k_wildcard_inside", "a wildcard in the middle", NGINX, (f"a.*.{DOMAIN}",), f"a.wild.{DOMAIN}",
         "not_in_san"),
    ):
        _add(book, known, name, truth, player, hosts, asked, reason)


def _addresses(book: Book, known: Authorities) -> None:
    """Asked by address; what they are comes with the address that the book gives."""
    ours, name = known.ours, "k_ip_san"
    here = book.next_address
    book.add(name, "nothing: for its address", NGINX, ours.chain(name, hosts=(), addresses=(here,)), ok(), host=here)
    name = "k_ip_as_dnsname"
    here = book.next_address
    book.add(name, "its address stands as a name", OPENSSL, ours.chain(name, hosts=(here,)), _MISNAMED, host=here,
             reason="ip_in_dns_san")
    name = "k_ip_without"
    here = book.next_address
    book.add(name, "asked by an address that it does not hold", NGINX, ours.chain(name), _MISNAMED, host=here,
             reason="ip_not_in_san")
    name = "k_ip_other"
    here = book.next_address
    other = ours.chain(name, addresses=("192.0.2.7",))
    book.add(name, "for another address", OPENSSL, other, _MISNAMED, host=here, reason="ip_not_in_san")
    name = "k_ip_san_v6"
    six = ours.chain(name, hosts=(), addresses=("::1",))
    book.add(name, "nothing: for its address, on IPv6", OPENSSL, six, ok(), host="::1", v6=True)
    name = "k_ip_without_v6"
    book.add(name, "asked by an IPv6 address that it does not hold", NGINX, ours.chain(name), _MISNAMED, host="::1",
             v6=True, reason="ip_not_in_san")


def _unusual(book: Book, known: Authorities) -> None:
    for name, truth, player, held, asked in (
        ("k_idn_alabel", "nothing: a name beyond ASCII", NGINX, f"xn--bcher-kva.{DOMAIN}", f"bücher.{DOMAIN}"),
        ("k_idn_alabel_asked_alabel", "nothing: the same in its other form", OPENSSL, f"xn--mnchen-3ya.{DOMAIN}",
         f"xn--mnchen-3ya.{DOMAIN}"),
        ("k_idn_2008_eszett", "nothing: a name that IDNA 2003 would change", NGINX, f"xn--strae-oqa.{DOMAIN}",
         f"straße.{DOMAIN}"),
        ("k_trailing_dot", "nothing: asked with a dot at the end", OPENSSL, f"dotted.{DOMAIN}", f"dotted.{DOMAIN}."),
        ("k_upper", "nothing: asked in capitals", NGINX, f"capitals.{DOMAIN}", f"CAPITALS.{DOMAIN.upper()}"),
        ("k_underscore", "nothing: an underscore", OPENSSL, f"my_host.{DOMAIN}", f"my_host.{DOMAIN}"),
    ):
        _add(book, known, name, truth, player, (held,), asked, None)
    name, held = "k_idn_2003_eszett", f"strasse.{DOMAIN}"
    _add(book, known, name, "for the name that IDNA 2003 makes of it", OPENSSL, (held,), f"straße.{DOMAIN}",
         "idna")
