"""Which service speaks which dialogue before TLS."""

from __future__ import annotations

from fleetprobe.layers.starttls.lines import FTP, IMAP, POP3, SMTP
from fleetprobe.layers.starttls.packets import LDAP, MYSQL, POSTGRES
from fleetprobe.layers.starttls.talk import Dialogue
from fleetprobe.layers.starttls.xmpp import XMPP

DIALOGUES: dict[str, Dialogue] = {
    "smtp": SMTP,
    "imap": IMAP,
    "pop3": POP3,
    "ftp": FTP,
    "postgres": POSTGRES,
    "mysql": MYSQL,
    "ldap": LDAP,
    "xmpp": XMPP,
}
