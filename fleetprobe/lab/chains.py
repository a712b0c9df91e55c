"""What a server of the lab presents, by what is wrong (or not) with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from fleetprobe.lab.issue import Issued, Life, Rights, Use, issue_authority, issue_leaf
from fleetprobe.lab.scenario import Certificate

_DAY: Final = timedelta(days=1)
_LAST: Final = Rights(path_length=0)
# A flight of about 4 kB: two full segments and a short one, within the ten that a server sends unasked (RFC 6928).
_MANY_NAMES: Final = tuple(f"one-of-the-many-hosts-of-this-certificate-{n:02}.lab.test" for n in range(48))


_CROWDS: Final = {Certificate.MANY_NAMES: 1000, Certificate.OVERSIZE: 3200}
"""How many names, of some 34 bytes each."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A root, and the intermediate that issues in its name."""

    root: Issued
    intermediate: Issued


@dataclass(frozen=True, slots=True)
class World:
    """The authorities of the lab, and the moment at which it was made."""

    trusted: Authority
    stranger: Authority
    nobody: Authority
    """Presented by no host, neither root nor intermediate."""
    inspector: Authority
    """That of a box which opens what passes it."""
    now: datetime
    two_intermediates: tuple[Issued, Issued]
    """Upper and lower, below the trusted root."""
    hidden: Issued
    """An intermediate below the trusted root that no host presents."""

    @property
    def life(self) -> Life:
        """When an ordinary leaf is valid."""
        return self.now - 30 * _DAY, self.now + 90 * _DAY

    @property
    def long_life(self) -> Life:
        """When an ordinary authority is valid."""
        return self.now - 60 * _DAY, self.now + 365 * _DAY


@dataclass(frozen=True, slots=True)
class Chain:
    """Certificates in the order in which they are presented, leaf first, and the leaf's key."""

    certificates: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey


def make_world(now: datetime) -> World:
    """New authorities with new keys."""
    lab = _authority("Lab", now)
    life = (now - 60 * _DAY, now + 365 * _DAY)
    upper = issue_authority("Lab Policy CA", lab.root, life, Rights(path_length=1))
    two = upper, issue_authority("Lab Issuing CA", upper, life, _LAST)
    elsewhere, nowhere, inspection = (_authority(owner, now) for owner in ("Elsewhere", "Nowhere", "Inspection"))
    hidden = issue_authority("Lab Hidden CA", lab.root, life, _LAST)
    return World(lab, elsewhere, nowhere, inspection, now, two, hidden)


def chain(kind: Certificate, use: Use, world: World) -> Chain:
    """What a server with such a certificate presents; `use` holds its own names and addresses."""
    if kind in _SHAPES:
        return _SHAPES[kind](use, world)
    authority = world.trusted
    if kind in _STRANGE:
        authority = world.stranger
    elif kind is Certificate.UNKNOWN_ISSUER:
        authority = world.nobody
    elif kind is Certificate.INTERCEPTED:
        authority = world.inspector
    start, end = world.life
    if kind is Certificate.EXPIRED:
        start, end = world.now - 90 * _DAY, world.now - 3 * _DAY
    elif kind is Certificate.NOT_YET_VALID:
        start, end = world.now + 3 * _DAY, world.now + 90 * _DAY
    elif kind is Certificate.EXPIRING:
        end = world.now + 10 * _DAY
    elif kind is Certificate.WRONG_NAME:
        use = Use(names=("another-host.lab.test",))
    elif kind is Certificate.LONG:
        use = replace(use, names=(*use.names, *_MANY_NAMES))
    elif kind in _CROWDS:
        use = replace(use, names=(*use.names, *_crowd(_CROWDS[kind])))
    elif kind is Certificate.PEDANTIC:
        use = replace(use, states_issuer_key=False)
    elif kind is Certificate.WRONG_USAGE:
        use = replace(use, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    elif kind is Certificate.MUST_STAPLE:
        use = replace(use, must_staple=True)
    issuer = None if kind is Certificate.SELF_SIGNED else authority.intermediate
    leaf = issue_leaf(_leaf_name(use), issuer, (start, end), use)
    return _presented(leaf, *_sent_above(kind, world))


_STRANGE: Final = (Certificate.UNTRUSTED_ROOT, Certificate.ROOT_NOT_SENT, Certificate.MISSING_BOTH)
_ALONE: Final = (
    Certificate.SELF_SIGNED, Certificate.UNKNOWN_ISSUER, Certificate.MISSING_INTERMEDIATE, Certificate.MISSING_BOTH,
)


def _sent_above(kind: Certificate, world: World) -> tuple[Issued, ...]:
    """What follows a leaf that the ordinary intermediate of either authority has issued."""
    ours, theirs = world.trusted, world.stranger
    if kind in _ALONE:
        return ()
    match kind:
        case Certificate.INTERCEPTED:
            return (world.inspector.intermediate,)
        case Certificate.ROOT_NOT_SENT:
            return (theirs.intermediate,)
        case Certificate.UNTRUSTED_ROOT:
            return theirs.intermediate, theirs.root
        case Certificate.ROOT_SENT:
            return ours.intermediate, ours.root
        case Certificate.EXTRA:
            return ours.intermediate, theirs.intermediate
        case Certificate.DUPLICATE:
            return ours.intermediate, ours.intermediate
        case Certificate.CROSS_SIGN:
            return ours.intermediate, _cross_signed(world)
        case _:
            return (ours.intermediate,)


def _crowd(count: int) -> tuple[str, ...]:
    return tuple(f"one-of-very-many-hosts-{n:04}.lab.test" for n in range(count))


def _cross_signed(world: World) -> Issued:
    """The root's name and key once more, vouched for by the other authority."""
    return issue_authority("Lab Root CA", world.stranger.root, world.long_life, Rights(), world.trusted.root.key)


def _deep(use: Use, world: World) -> Chain:
    upper, lower = world.two_intermediates
    return _presented(issue_leaf(_leaf_name(use), lower, world.life, use), lower, upper)


def _hidden_issuer(use: Use, world: World) -> Chain:
    return _presented(issue_leaf(_leaf_name(use), world.hidden, world.life, use))


def _missing_upper(use: Use, world: World) -> Chain:
    _, lower = world.two_intermediates
    return _presented(issue_leaf(_leaf_name(use), lower, world.life, use), lower)


def _wrong_order(use: Use, world: World) -> Chain:
    upper, lower = world.two_intermediates
    return _presented(issue_leaf(_leaf_name(use), lower, world.life, use), upper, lower)


def _expired_issuer(use: Use, world: World) -> Chain:
    over = (world.now - 300 * _DAY, world.now - _DAY)
    trusted = world.trusted
    old = issue_authority("Lab Intermediate CA", trusted.root, over, _LAST, trusted.intermediate.key)
    return _presented(issue_leaf(_leaf_name(use), old, world.life, use), old)


def _bad_signature(use: Use, world: World) -> Chain:
    """The leaf names the intermediate and the key of the intermediate, and another key has signed it."""
    genuine = world.trusted.intermediate
    forger = Issued(genuine.certificate, ec.generate_private_key(ec.SECP256R1()))
    return _presented(issue_leaf(_leaf_name(use), forger, world.life, use), genuine)


def _rekeyed(use: Use, world: World) -> Chain:
    """The intermediate has a new key; the leaf is signed with it, and the old intermediate is sent."""
    renewed = issue_authority("Lab Intermediate CA", world.trusted.root, world.long_life, _LAST)
    return _presented(issue_leaf(_leaf_name(use), renewed, world.life, use), world.trusted.intermediate)


def _issuer_not_ca(use: Use, world: World) -> Chain:
    """A leaf has signed another leaf."""
    name = "colleague.lab.test"
    colleague = issue_leaf(name, world.trusted.intermediate, world.life, Use(names=(name,)))
    leaf = issue_leaf(_leaf_name(use), colleague, world.life, use)
    return _presented(leaf, colleague, world.trusted.intermediate)


def _path_length(use: Use, world: World) -> Chain:
    """An authority stands below one that may have none below it."""
    below = issue_authority("Lab Department CA", world.trusted.intermediate, world.long_life, _LAST)
    leaf = issue_leaf(_leaf_name(use), below, world.life, use)
    return _presented(leaf, below, world.trusted.intermediate)


def _constrained(permitted: str) -> Callable[[Use, World], Chain]:
    def shape(use: Use, world: World) -> Chain:
        rights = Rights(path_length=0, permitted=permitted)
        narrow = issue_authority("Lab Narrow CA", world.trusted.root, world.long_life, rights)
        return _presented(issue_leaf(_leaf_name(use), narrow, world.life, use), narrow)

    return shape


def _expiring_issuer(use: Use, world: World) -> Chain:
    soon = (world.now - 60 * _DAY, world.now + 10 * _DAY)
    issuer = issue_authority("Lab Ageing CA", world.trusted.root, soon, _LAST)
    return _presented(issue_leaf(_leaf_name(use), issuer, world.life, use), issuer)


_SHAPES: Final[Mapping[Certificate, Callable[[Use, World], Chain]]] = {
    Certificate.DEEP: _deep,
    Certificate.MISSING_UPPER: _missing_upper,
    Certificate.HIDDEN_ISSUER: _hidden_issuer,
    Certificate.EXPIRED_ISSUER: _expired_issuer,
    Certificate.WRONG_ORDER: _wrong_order,
    Certificate.BAD_SIGNATURE: _bad_signature,
    Certificate.REKEYED: _rekeyed,
    Certificate.ISSUER_NOT_CA: _issuer_not_ca,
    Certificate.PATH_LENGTH: _path_length,
    Certificate.NAME_CONSTRAINT: _constrained("elsewhere.test"),
    Certificate.CONSTRAINED: _constrained("lab.test"),
    Certificate.EXPIRING_ISSUER: _expiring_issuer,
}


def _presented(leaf: Issued, *above: Issued) -> Chain:
    return Chain(tuple(one.certificate for one in (leaf, *above)), leaf.key)


def _leaf_name(use: Use) -> str:
    names: Sequence[str] = (*use.names, *use.addresses)
    return names[0]


def _authority(owner: str, now: datetime) -> Authority:
    life = (now - 60 * _DAY, now + 365 * _DAY)
    root = issue_authority(f"{owner} Root CA", None, life, Rights(path_length=2))
    return Authority(root, issue_authority(f"{owner} Intermediate CA", root, life, _LAST))
