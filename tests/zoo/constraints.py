"""Servers whose certificates hold together and break a rule: who may issue, for what, how strong, how well formed."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.zoo.authorities import Authorities, authority, rsa_key
from tests.zoo.book import DOMAIN, PROVEN, Book, Nginx, OpenSsl, fails, ok, own_name
from tests.zoo.mint import YOUNG, Minted, Wish, forged, mint, names_twice, staple, unknown_critical, unreadable_names

NGINX, OPENSSL = Nginx(), OpenSsl()
WEAK_NGINX = Nginx(("ssl_ciphers DEFAULT:@SECLEVEL=0",))
WEAK_OPENSSL = OpenSsl(("-cipher", "DEFAULT:@SECLEVEL=0"))


def write(book: Book, known: Authorities) -> None:
    """All of them."""
    _who_may_issue(book, known)
    _for_which_names(book, known)
    _for_what(book, known)
    _false_signatures(book, known)
    _sloppy(book, known)
    _weak(book, known)
    _malformed(book, known)


def _who_may_issue(book: Book, known: Authorities) -> None:
    ours = known.ours
    no_authority = fails("tls.issuer_not_ca", without=("tls.path_length", "tls.wrong_usage", "tls.issuer_unknown"))
    name = "s3_issuer_not_ca"
    colleague = ours.leaf("colleague")
    book.add(name, "signed by another server's certificate", NGINX,
             [ours.leaf(name, issuer=colleague), colleague, *ours.above], no_authority)
    name = "s3_issuer_without_right_to_sign"
    mute = authority("Zoo Mute CA", ours.root, path_length=0, signs=False)
    book.add(name, "its issuer may not sign certificates", OPENSSL, [ours.leaf(name, issuer=mute), mute], no_authority)
    name = "s3_pathlen_exceeded"
    below = authority("Zoo Department CA", ours.lower)
    book.add(name, "an authority below one that may have none", NGINX,
             [ours.leaf(name, issuer=below), below, *ours.above], fails("tls.path_length"))
    name = "s3_pathlen_kept"
    last = authority("Zoo Last CA", ours.upper, path_length=0)
    book.add(name, "nothing: as many authorities as are permitted", OPENSSL,
             [ours.leaf(name, issuer=last), last, ours.upper], ok())


def _for_which_names(book: Book, known: Authorities) -> None:
    ours = known.ours
    forbidden = fails("tls.name_constraint", without=("tls.name_mismatch",))
    narrow = authority("Zoo Narrow CA", ours.root, path_length=0, permitted=("elsewhere.test",))
    name = "s3_name_constraint_violation"
    book.add(name, "its issuer may not certify its name", NGINX, [ours.leaf(name, issuer=narrow), narrow], forbidden)
    barred = authority("Zoo Barred CA", ours.root, path_length=0, excluded=(DOMAIN,))
    name = "s3_name_excluded"
    book.add(name, "its issuer is barred from its name", OPENSSL, [ours.leaf(name, issuer=barred), barred], forbidden)
    fitting = authority("Zoo Fitting CA", ours.root, path_length=0, permitted=(DOMAIN,))
    name = "s3_name_permitted"
    book.add(name, "nothing: its issuer may certify such names", NGINX, [ours.leaf(name, issuer=fitting), fitting],
             ok())


def _for_what(book: Book, known: Authorities) -> None:
    ours = known.ours
    clients = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    wrong = fails("tls.wrong_usage", without=("tls.issuer_not_ca",))
    name = "s3_eku_client_only"
    book.add(name, "for clients alone", NGINX, ours.chain(name, purposes=clients), wrong)
    name = "s3_eku_of_issuer"
    for_mail = (ExtendedKeyUsageOID.EMAIL_PROTECTION,)
    mail = authority("Zoo Mail CA", ours.root, path_length=0, purposes=for_mail)
    book.add(name, "its issuer is for mail alone", OPENSSL, [ours.leaf(name, issuer=mail), mail], wrong)
    name = "s3_no_eku"
    book.add(name, "nothing: no purpose is said", OPENSSL, ours.chain(name, purposes=()), ok())
    name = "s3_unknown_critical"
    strange = ours.chain(name, further=(unknown_critical(),))
    book.add(name, "an extension that nobody knows and must not pass over", NGINX, strange,
             fails("tls.rejected_by_verifier"))
    name = "s_must_staple_no_staple"
    book.add(name, "promises a stapled answer and gives none", NGINX, ours.chain(name, staple=True),
             ok("tls.must_staple"))
    name = "s_must_staple_stapled"
    promised = ours.chain(name, staple=True)
    book.staples[name] = staple(promised[0], ours.lower)
    book.add(name, "nothing: promises a stapled answer and gives it", OpenSsl(("-status_file", "{staple}")), promised,
             ok())


def _false_signatures(book: Book, known: Authorities) -> None:
    ours = known.ours
    name = "s3_bad_signature_same_issuer_name"
    plain = authority("Zoo Plain CA", ours.root, path_length=0)
    twin = authority("Zoo Plain CA", ours.root, path_length=0)
    leaf = ours.leaf(name, issuer=twin, key_ids=False)
    false = fails("tls.bad_signature", without=("tls.issuer_unknown",), how=("observed", "proven"))
    book.add(name, "signed by another key of its issuer's name", NGINX, [leaf, plain], false)
    name = "s3_signature_forged"
    book.add(name, "a bit of its signature is wrong", OPENSSL, [forged(ours.leaf(name)), *ours.above], false)
    name = "s3_issuer_rekeyed"
    fresh = authority("Zoo Plain CA", ours.root, path_length=0)
    book.add(name, "the issuer's old certificate sent, signed by its new key", NGINX,
             [ours.leaf(name, issuer=fresh), plain], false)
    name = "s3_issuer_rekeyed_known"
    first = authority("Zoo Changed CA", ours.root, path_length=0)
    second = authority("Zoo Changed CA", ours.root, path_length=0)
    missing = fails("tls.missing_intermediate", how=PROVEN, without=("tls.issuer_unknown",))
    leaf = ours.leaf(name, issuer=second)
    book.add(name, "the issuer's old certificate sent, the new one known", OPENSSL, [leaf, first], missing,
             mended=[leaf, second])
    name = "s3_issuer_rekeyed_right"
    book.add(name, "nothing: the issuer's new certificate", NGINX, [ours.leaf(name, issuer=second), second], ok())


def _sloppy(book: Book, known: Authorities) -> None:
    """What strict readers of RFC 5280 refuse and all others take."""
    ours = known.ours
    name = "s3_leaf_no_aki"
    book.add(name, "no key identifiers", OPENSSL, ours.chain(name, key_ids=False), ok("tls.pedantic"))
    name = "s3_sloppy_private_ca"
    root = authority("Backyard CA", key_ids=False, basic_critical=False, key_usage=False)
    leaf = mint(Wish(name=own_name(name), hosts=(own_name(name),), key_ids=False), root)
    book.bundles["backyard"] = (root,)
    book.add(name, "an authority made by hand, trusted", NGINX, [leaf], ok("tls.pedantic"), trust="backyard")


def _weak(book: Book, known: Authorities) -> None:
    ours, by_rsa = known.ours, known.by_rsa
    name = "l_rsa1024"
    book.add(name, "an RSA key of 1024 bits", WEAK_NGINX, ours.chain(name, key=rsa_key(1024)), fails("tls.weak_key"))
    name = "l_rsa1024_int"
    short = authority("Zoo Short CA", by_rsa.root, path_length=0, key=rsa_key(1024))
    book.add(name, "its issuer has an RSA key of 1024 bits", WEAK_OPENSSL, [ours.leaf(name, issuer=short), short],
             fails("tls.weak_key"))
    name = "l_sha1"
    weak = fails("tls.weak_signature", without=("tls.bad_signature",))
    book.add(name, "signed with SHA-1", WEAK_OPENSSL, by_rsa.chain(name, hash_name="sha1"), weak)
    name = "l_md5"
    book.add(name, "signed with MD5", WEAK_NGINX, by_rsa.chain(name, hash_name="md5"), weak)
    name = "l_sha1_int"
    old = authority("Zoo SHA-1 CA", by_rsa.root, path_length=0, hash_name="sha1")
    book.add(name, "its issuer is signed with SHA-1", WEAK_NGINX, [ours.leaf(name, issuer=old), old], weak)
    name = "l_p384"
    book.add(name, "nothing: a key on P-384", OPENSSL, ours.chain(name, key=ec.generate_private_key(ec.SECP384R1())),
             ok())


def _malformed(book: Book, known: Authorities) -> None:
    ours = known.ours
    broken = fails("tls.malformed", how=("observed", "proven", "inferred"))
    name = "q_names_twice"
    leaf = names_twice(Wish(name=own_name(name), hosts=(own_name(name),), life=YOUNG), ours.lower)
    book.add(name, "its names stand in it twice", OPENSSL, [leaf, *ours.above], broken)
    name = "q_names_unreadable"
    unread: tuple[Minted, ...] = ours.chain(name, hosts=(), further=(unreadable_names(),))
    book.add(name, "its names cannot be read", OPENSSL, unread, broken)

