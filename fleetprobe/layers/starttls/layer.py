"""L5/6 for services that begin in plain text: their dialogue, then the TLS of the layer beside this one.

Every byte is accounted for. Nothing is read that belongs to TLS, and what came in plain text behind the answer to the
upgrade is kept and never handed on: who takes it for a part of the session can be told lies (CVE-2021-22947, and
CVE-2021-23222 of PostgreSQL's client).
"""

from __future__ import annotations

from dataclasses import replace

from fleetprobe.layer import Ground, Witness
from fleetprobe.layers.conversation import Conversation, Phase
from fleetprobe.layers.starttls import judge
from fleetprobe.layers.starttls.dialogues import DIALOGUES
from fleetprobe.layers.starttls.facts import UpgradeFacts
from fleetprobe.layers.starttls.talk import Caller, Question, Reply, Stage, Word
from fleetprobe.layers.tls import aia, exchange
from fleetprobe.layers.tls import layer as tls
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.offer import asked_name
from fleetprobe.net.interface import Net

TALK_BYTES = 64 * 1024
WORK_BYTES = 2 * 1024 * 1024
"""What the readers of one dialogue may look at in all: after each read they look at the whole answer again, so that who
drips bytes is left. An honest server that sends every byte by itself is not: 600 bytes of it are a third of that."""
READ_IS_BYTES = 1024
"""What a read costs before anybody looks at its bytes."""

_READ_BYTES = 4096
_SETTLED = frozenset({Word.READY, Word.REFUSED})


async def probe(ground: Ground, net: Net) -> UpgradeFacts | TlsFacts:
    """The dialogue; if it ends as it should, the handshake, over the same connection."""
    said = await _Talk(ground, net).to_the_end()
    if not said.clear:
        return said
    return replace(await tls.probe(ground, net), upgrade=said)


class _Talk:
    """One dialogue over the stream on the ground, and what has come of it."""

    def __init__(self, ground: Ground, net: Net) -> None:
        self._ground, self._net = ground, net
        self._conversation = Conversation(ground, net)
        self._until_s = ground.until(ground.exchange_s, net.now())
        self._buffer = b""
        self._before: list[bytes] = []
        self._work = self._received = 0

    async def to_the_end(self) -> UpgradeFacts:
        """Question after question, as long as the answers allow."""
        service = self._ground.target.service
        dialogue = DIALOGUES[service]
        dial = getattr(self._ground.facts.get("tcp"), "dial", None)
        caller = Caller(asked_name(self._ground.target), dial.local_address if dial else None)
        unasked = b""
        for question in dialogue.questions:
            if question.stage is Stage.UPGRADE:
                if not question.answered:
                    # Later it may be a refusal of what we are about to ask for.
                    await self._look_once_more()
                unasked = unasked or dialogue.unasked(self._buffer)
            if asked := question.say(caller):
                await self._conversation.say(asked, self._until_s)
            reply = await self._hear(question)
            said = self._take(reply)
            if reply is None or reply.word is not Word.GOES_ON:
                break
            self._before.append(said)
        word = reply.word if reply else None
        if word in _SETTLED and question.answered:
            await self._look_once_more()
        return UpgradeFacts(
            service=service, stage=question.stage, word=word, said=said, before=b"".join(self._before),
            ending=self._conversation.ending(self._phase(question, reply, said)),
            unasked=unasked, surplus=self._buffer if word in _SETTLED else b"",
            too_much=reply is None and self._too_much,
        )

    async def _hear(self, question: Question) -> Reply | None:
        """The whole answer, or None for what came in its place; nothing is read beyond need."""
        while (reply := question.read(self._buffer)) is None and not self._too_much:
            data = await self._conversation.hear(min(_READ_BYTES, TALK_BYTES - self._received), self._until_s)
            if not data:
                return None
            self._received += len(data)
            self._buffer += data
            self._work += READ_IS_BYTES + len(self._buffer)
        return reply

    def _take(self, reply: Reply | None) -> bytes:
        taken = reply.taken if reply else len(self._buffer)
        said, self._buffer = self._buffer[:taken], self._buffer[taken:]
        return said

    async def _look_once_more(self) -> None:
        """What our kernel holds already, before it is told anything: a TLS server never speaks first."""
        assert self._ground.stream is not None
        got = await self._ground.stream.receive(_READ_BYTES, self._net.now())
        self._buffer += got.data

    @property
    def _too_much(self) -> bool:
        return self._work >= WORK_BYTES or self._received >= TALK_BYTES

    @staticmethod
    def _phase(question: Question, reply: Reply | None, said: bytes) -> Phase:
        if reply is not None:
            return Phase.OVER
        if question.stage is Stage.GREETING:
            return Phase.IN_BANNER if said else Phase.BEFORE_DATA
        return Phase.IN_HEAD if said else Phase.AFTER_REQUEST


LAYER = replace(
    tls.LAYER,
    probe=probe,
    judge=judge.judge,
    emits=judge.EMITS,
    # A hello alone, as the other witnesses of TLS say it, is not what these services wait for.
    witnesses=(Witness(name="again", when=exchange.SILENT | {"app.no_banner"}), aia.WITNESS),
)
