"""Servers whose chain is complete, untidy, cut, or ends nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fleetprobe.lab.scenario import Expectation
from tests.zoo.authorities import Authorities, authority, crossed, family, line_of
from tests.zoo.book import INFERRED, PROVEN, Book, Nginx, OpenSsl, fails, ok, own_name
from tests.zoo.mint import DAY, FUTURE, NOW, PAST, Minted, Wish, mint

NGINX, OPENSSL = Nginx(), OpenSsl()
_AIA = "http://aia.zoo.test/issuer.der"
_MISSING = fails("tls.missing_intermediate", how=PROVEN, without=("tls.issuer_unknown", "tls.untrusted_root"))
_UNKNOWN = fails(
    "tls.issuer_unknown", how=INFERRED, without=("tls.missing_intermediate", "tls.untrusted_root", "tls.self_signed")
)
_UNTRUSTED = fails("tls.untrusted_root", without=("tls.issuer_unknown", "tls.missing_intermediate", "tls.self_signed"))


def write(book: Book, known: Authorities) -> None:
    """All of them."""
    book.bundles["root"] = (known.ours.root, known.by_rsa.root, known.unseen.root)
    _whole(book, known)
    _cut(book, known)
    _untidy(book, known)
    _self_signed(book)
    _strange_roots(book, known)
    _out_of_date(book, known)
    _crossed(book)
    _long(book, known)
    _by_label(book, known)


def _whole(book: Book, known: Authorities) -> None:
    ours, by_rsa = known.ours, known.by_rsa
    book.add("a_healthy", "nothing", NGINX, ours.chain("a_healthy"), ok())
    book.add("a_healthy_openssl", "nothing", OPENSSL, ours.chain("a_healthy_openssl"), ok())
    book.add("a_healthy_rsa", "nothing, RSA", NGINX, by_rsa.chain("a_healthy_rsa"), ok())
    book.add("a_healthy_v6", "nothing, on IPv6", NGINX, ours.chain("a_healthy_v6"), ok(), v6=True)
    book.add("a_healthy_v6_openssl", "nothing, on IPv6", OPENSSL, by_rsa.chain("a_healthy_v6_openssl"), ok(), v6=True)
    book.add("a_short", "nothing, one authority", NGINX, [
        ours.leaf("a_short", issuer=ours.upper), ours.upper,
    ], ok())
    root_sent = [*ours.chain("a_healthy_with_root"), ours.root]
    book.add("a_healthy_with_root", "its root is sent as well", NGINX, root_sent, ok("tls.root_sent"))
    leaf = ours.leaf("a_leaf_dup_sent")
    twice = [leaf, leaf, *ours.above]
    book.add("a_leaf_dup_sent", "its leaf is sent twice", OPENSSL, twice, ok("tls.duplicate_certs"))


def _cut(book: Book, known: Authorities) -> None:
    """Certificates left out that another server presents, and such as none does."""
    ours, unseen = known.ours, known.unseen

    def cut(name: str, truth: str, player: Nginx | OpenSsl, sent: Sequence[Minted], **more: Any) -> None:
        leaf = ours.leaf(name, aia=_AIA if name.endswith("_aia") else None)
        book.add(name, truth, player, [leaf, *sent], _MISSING, mended=[leaf, *ours.above], **more)

    both, upper, lower = (f"{which} missing" for which in ("both intermediates", "upper intermediate",
                                                           "lower intermediate"))
    cut("b_missing_all_aia", both, NGINX, [])
    cut("b_missing_top_aia", upper, OPENSSL, [ours.lower])
    cut("b_missing_mid_aia", lower, NGINX, [ours.upper])
    cut("b_missing_all_noaia", both, OPENSSL, [])
    cut("b_missing_leafissuer_noaia", lower, NGINX, [ours.upper])
    cut("b_missing_v6", f"{both}, on IPv6", NGINX, [], v6=True)
    cut("b_missing_root_sent", f"{upper}, root sent", NGINX, [ours.lower, ours.root])
    cut("d_only_unrelated", "a stranger in place of the intermediates", NGINX, [known.other.lower])
    name = "b_missing_rsa"
    leaf = known.by_rsa.leaf(name)
    book.add(name, f"{both}, RSA", OPENSSL, [leaf], _MISSING, mended=[leaf, *known.by_rsa.above])
    name = "b_missing_unseen"
    book.add(name, "intermediates missing that nobody presents", NGINX, [unseen.leaf(name)], _UNKNOWN)
    name = "b_missing_expired"
    leaf = ours.leaf(name, life=PAST)
    expired = fails("tls.missing_intermediate", "tls.expired", how=PROVEN)
    book.add(name, f"{both}, leaf expired", OPENSSL, [leaf], expired, mended=[leaf, *ours.above])
    name = "b_missing_wrong_name"
    leaf = ours.leaf(name, hosts=("else.zoo.test",))
    misnamed = fails("tls.missing_intermediate", "tls.name_mismatch", how=PROVEN)
    book.add(name, f"{both}, other name", NGINX, [leaf], misnamed, mended=[leaf, *ours.above])
    _cut_below_a_strange_root(book, known)


def _cut_below_a_strange_root(book: Book, known: Authorities) -> None:
    theirs = known.theirs
    both = fails("tls.missing_intermediate", "tls.untrusted_root", how=PROVEN, without=("tls.issuer_unknown",))
    for name, truth, player, sent, verdict, trust in (
        ("f_private_missing_int", "intermediates missing, of an untrusted root", NGINX, (), both, "root"),
        ("f_private_leaf_plus_root_noint", "intermediates missing, untrusted root sent", OPENSSL, (theirs.root,), both,
         "root"),
        ("f_private_missing_int_trusted", "intermediates missing, root trusted", OPENSSL, (), _MISSING, "corporate"),
    ):
        leaf = theirs.leaf(name)
        book.add(name, truth, player, [leaf, *sent], verdict, trust=trust, mended=[leaf, *theirs.above])


def _untidy(book: Book, known: Authorities) -> None:
    ours, other = known.ours, known.other
    name = "c_wrong_order"
    shuffled = [ours.leaf(name), ours.upper, ours.lower]
    book.add(name, "intermediates in the wrong order", NGINX, shuffled, ok("tls.wrong_order"))
    name = "c_root_first"
    from_above = [ours.leaf(name), ours.root, ours.upper, ours.lower]
    untidy = ok("tls.wrong_order", "tls.root_sent")
    book.add(name, "root first, all in the wrong order", OPENSSL, from_above, untidy)
    extra = ok("tls.extra_certs")
    name = "d_extra_unrelated"
    book.add(name, "a stranger's certificate as well", NGINX, [*ours.chain(name), other.lower], extra)
    name = "d_extra_leaf"
    book.add(name, "another server's leaf as well", OPENSSL, [*ours.chain(name), other.leaf("elsewhere")], extra)
    name = "d_dup_int"
    repeated = [*ours.chain(name), ours.lower]
    book.add(name, "an intermediate twice", OPENSSL, repeated, ok("tls.duplicate_certs"))


def _self_signed(book: Book) -> None:
    alone = fails("tls.self_signed", without=("tls.untrusted_root", "tls.issuer_unknown"))
    name = "e_selfsigned_leaf"
    leaf = mint(Wish(name=own_name(name), hosts=(own_name(name),)))
    book.add(name, "signed by itself", NGINX, [leaf], alone)
    name = "e_selfsigned_ca_leaf"
    book.add(name, "signed by itself, and an authority", OPENSSL, [_own_authority(name)], alone)
    name = "e_selfsigned_trusted"
    leaf = _own_authority(name)
    book.bundles["itself"] = (leaf,)
    book.add(name, "nothing: signed by itself, and trusted as it is", NGINX, [leaf], ok(), trust="itself")
    name = "e_selfsigned_expired_other_name"
    leaf = mint(Wish(name="appliance", hosts=("appliance.example",), life=PAST))
    three = fails("tls.self_signed", "tls.expired", "tls.name_mismatch")
    book.add(name, "signed by itself, expired, other name", OPENSSL, [leaf], three)


def _own_authority(server: str) -> Minted:
    """What `openssl req -x509` makes: an authority that is a server. Without key usage, so that it may be both."""
    return authority(own_name(server), hosts=(own_name(server),), key_usage=False)


def _strange_roots(book: Book, known: Authorities) -> None:
    theirs, hermit = known.theirs, known.hermit
    book.bundles["corporate"] = (theirs.root,)
    name = "f_private_root_sent"
    book.add(name, "untrusted root, sent", NGINX, [*theirs.chain(name), theirs.root], _UNTRUSTED)
    name = "f_private_root_notsent"
    proven = fails("tls.untrusted_root", how=PROVEN, without=("tls.issuer_unknown", "tls.missing_intermediate"))
    book.add(name, "untrusted root, not sent", OPENSSL, theirs.chain(name), proven)
    name = "f_private_trusted"
    book.add(name, "nothing: its private root is trusted", NGINX, theirs.chain(name), ok(), trust="corporate")
    name = "f_private_root_unseen"
    book.add(name, "untrusted root that nobody sends", OPENSSL, hermit.chain(name), _UNKNOWN)
    box = family("Inspection Box")
    name = "r_intercept_untrusted"
    found = [box.leaf(name, issuer=box.root), box.root]
    book.add(name, "signed by a box on the way, its root sent", NGINX, found, _UNTRUSTED)
    name = "r_intercept_trusted"
    book.bundles["box"] = (*book.bundles["root"], box.root)
    book.add(name, "nothing: signed by a box, which is trusted", OPENSSL, [box.leaf(name, issuer=box.root)], ok(),
             trust="box")


def _out_of_date(book: Book, known: Authorities) -> None:
    ours = known.ours
    name = "g_expired_leaf"
    leaf_only = fails("tls.expired", without=("tls.issuer_unknown",), says=("the certificate of",))
    book.add(name, "leaf expired", NGINX, ours.chain(name, life=PAST), leaf_only)
    name = "g_expired_leaf_openssl"
    book.add(name, "leaf expired", OPENSSL, ours.chain(name, life=PAST), leaf_only)
    name = "j_not_yet_valid"
    not_yet = fails("tls.not_yet_valid", without=("tls.expired",), says=("the certificate of",))
    book.add(name, "leaf not valid yet", OPENSSL, ours.chain(name, life=FUTURE), not_yet)
    name = "g_expiring"
    soon = (NOW - 60 * DAY, NOW + 10 * DAY)
    book.add(name, "leaf expires in ten days", NGINX, ours.chain(name, life=soon), ok("tls.expiring"))
    name = "g_expiring_issuer"
    ageing = authority("Zoo Ageing CA", ours.root, life=soon, path_length=0)
    book.add(name, "intermediate expires in ten days", NGINX, [ours.leaf(name, issuer=ageing), ageing],
             ok("tls.expiring"))
    _old_issuers(book, known)


def _old_issuers(book: Book, known: Authorities) -> None:
    """An authority that was renewed with its key: both of its certificates are in the fleet."""
    ours = known.ours
    renewed = authority("Zoo Renewed CA", ours.root, path_length=0)
    old = authority("Zoo Renewed CA", ours.root, path_length=0, key=renewed.key, life=PAST)
    name = "h_expired_int"
    expired = fails("tls.expired", without=("tls.issuer_unknown",), says=("issuer certificate at depth 1",))
    book.add(name, "intermediate expired", NGINX, [ours.leaf(name, issuer=old), old], expired)
    name = "h_expired_int_plus_good_int"
    both = [ours.leaf(name, issuer=old), old, renewed]
    # Its predecessor may be called extra or passed over in silence: it does no harm.
    verdict = replace(ok(), without=tuple(one for one in ok().without if one != "tls.extra_certs"))
    book.add(name, "expired intermediate and its successor sent", OPENSSL, both, verdict)
    name = "h_missing_renewed"
    leaf = ours.leaf(name, issuer=renewed)
    book.add(name, "renewed intermediate missing", NGINX, [leaf], _MISSING, mended=[leaf, renewed])
    lone = authority("Zoo Forgotten CA", ours.root, path_length=0, life=PAST)
    name = "h_expired_int_no_successor"
    book.add(name, "intermediate expired, no successor", OPENSSL, [ours.leaf(name, issuer=lone), lone], expired)
    early = authority("Zoo Early CA", ours.root, path_length=0, life=FUTURE)
    name = "h_nya_int"
    not_yet = fails("tls.not_yet_valid", without=("tls.expired",), says=("issuer certificate at depth 1",))
    book.add(name, "intermediate not valid yet", NGINX, [ours.leaf(name, issuer=early), early], not_yet)
    name = "g_everything_expired_other_name"
    all_three = fails("tls.expired", "tls.name_mismatch")
    leaf = ours.leaf(name, issuer=lone, life=PAST, hosts=("else.zoo.test",))
    book.add(name, "leaf and intermediate expired, other name", NGINX, [leaf, lone], all_three)


def _crossed(book: Book) -> None:
    """One authority with a new root of its own and a certificate of that root's key by an older one."""
    old = authority("Zoo Old Root")
    old_expired = authority("Zoo Old Root", key=old.key, life=PAST)
    new = family("Zoo New")
    cross = crossed(new.root, old)
    stale = crossed(new.root, old, PAST)
    book.bundles |= {
        "new": (new.root,), "old": (old,), "old-expired": (old_expired,), "policy": (new.upper,),
        "old-expired-and-new": (old_expired, new.root),
    }
    tidy = ok("tls.cross_sign")

    def add(name: str, truth: str, player: Nginx | OpenSsl, more: Sequence[Minted], trust: str) -> None:
        chain = new.chain(name)
        mended = () if more else (*chain, cross)
        book.add(name, truth, player, [*chain, *more], expects[name], trust=trust, mended=mended)

    others = ("tls.issuer_unknown", "tls.untrusted_root")
    expects = {
        "i1_xs_expired_rootA_in_store": tidy,
        "i2_xs_valid_oldroot_expired_both_in_store": tidy,
        "i3_xs_valid_only_expired_oldroot_in_store": fails("tls.expired", without=others, says=("depth 4",)),
        "i4_xs_expired_only_oldroot_in_store": fails("tls.expired", without=others, says=("depth 3",)),
        "i5_xs_valid_only_oldroot_in_store": ok(),
        "i6_no_xs_only_oldroot_in_store": _MISSING,
    }
    add("i1_xs_expired_rootA_in_store", "an expired cross-sign that nobody needs", NGINX, [stale], "new")
    add("i2_xs_valid_oldroot_expired_both_in_store", "a cross-sign by an expired root, not needed", OPENSSL, [cross],
        "old-expired-and-new")
    add("i3_xs_valid_only_expired_oldroot_in_store", "the only root that is trusted has expired", NGINX, [cross],
        "old-expired")
    add("i4_xs_expired_only_oldroot_in_store", "the cross-sign that is needed has expired", OPENSSL, [stale], "old")
    add("i5_xs_valid_only_oldroot_in_store", "nothing: the cross-sign leads to the old root", NGINX, [cross], "old")
    add("i6_no_xs_only_oldroot_in_store", "the cross-sign that is needed is missing", OPENSSL, [], "old")
    lonely = family("Zoo Lonely")
    name = "i6_no_xs_anywhere"
    book.add(name, "a cross-sign is missing that nobody has", NGINX, lonely.chain(name), _UNKNOWN, trust="old")
    name = "i7_anchor_is_intermediate"
    book.add(name, "an intermediate is trusted, its root is not", OPENSSL, new.chain(name), _UNKNOWN, trust="policy")


def _long(book: Book, known: Authorities) -> None:
    ours = known.ours
    junk = [known.other.leaf(f"junk-{number}") for number in range(98)]
    name = "t_huge_98_junk"
    book.add(name, "98 strangers' certificates as well", OPENSSL, [*ours.chain(name), *junk], ok("tls.extra_certs"))
    name = "t_huge_leaf_3000san"
    many = (own_name(name), *(f"host-{number}.of-a-very-long-list-of-names.zoo.test" for number in range(3000)))
    book.add(name, "a leaf with 3,000 names, above 100 KiB", NGINX, ours.chain(name, hosts=many),
             fails("tls.chain_oversize", how=("observed", "proven"), without=("tls.protocol_error",)))
    deep = line_of(ours.root, 105, "Zoo Floor")
    for count in (8, 30, 105):
        name = f"t_deep_{count}"
        line = deep[-count:]
        # We follow a hundred, as OpenSSL's clients do, others six; how many are too many is not agreed, so inferred.
        verdict = ok() if count <= 100 else fails("tls.chain_oversize", how=INFERRED, without=("tls.issuer_unknown",))
        book.add(name, f"{count} intermediates", NGINX, [ours.leaf(name, issuer=line[0]), *line], verdict)


def _by_label(book: Book, known: Authorities) -> None:
    """Held against several stores: the first one decides."""
    name = "v_first_store_fails"
    book.add(name, "trusted by the second store alone", NGINX, known.theirs.chain(name),
             fails("tls.untrusted_root", how=PROVEN, says=("fails for root, passes for corporate",)),
             stores=("root", "corporate"))
    name = "v_second_store_fails"
    first = Expectation(state=("ok",), findings=("tls.untrusted_root", "tls.root_sent"))
    book.add(name, "trusted by the first store alone", OPENSSL, [*known.theirs.chain(name), known.theirs.root], first,
             stores=("corporate", "root"))
    name = "v_both_stores_hold"
    book.add(name, "nothing: trusted by both stores", NGINX, known.ours.chain(name), ok(), stores=("root", "box"))
