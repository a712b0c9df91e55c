"""The zoo of certificates and handshakes: real servers on loopback, one scan, and every verdict is right."""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fleetprobe.lab.programs import find_program
from tests.zoo.book import Nginx, OpenSsl
from tests.zoo.scan import Row, scan, verdicts, wrong
from tests.zoo.stand import Zoo, standing


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    missing = [name for name in ("nginx", "openssl") if find_program(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with standing(tmp_path_factory.mktemp("zoo")) as one:
        yield one


@pytest.fixture(scope="module")
def records(zoo: Zoo) -> Sequence[Row]:
    return scan(zoo, zoo.directory / "records.jsonl")


def test_every_server_of_the_zoo_gets_its_verdict(zoo: Zoo, records: Sequence[Row]) -> None:
    assert wrong(zoo, records) == {}


def test_the_zoo_is_large_and_real_servers_are_in_it(zoo: Zoo) -> None:
    players = Counter(type(server.player) for server in zoo.servers)
    assert len(zoo.servers) >= 100
    assert players[Nginx] >= 40 and players[OpenSsl] >= 40
    assert {store for server in zoo.servers for store in server.stores} == set(zoo.book.bundles)


def test_every_server_has_one_result_and_stands_on_this_machine_alone(zoo: Zoo, records: Sequence[Row]) -> None:
    results = [record for record in records if record["kind"] == "result"]
    assert len(results) == len(zoo.servers) == len(verdicts(records))
    dialled = {attempt["address"] for result in results for attempt in result["attempts"]}
    assert dialled and all(ipaddress.ip_address(address).is_loopback for address in dialled)


def test_a_verdict_that_changes_is_noticed(zoo: Zoo, records: Sequence[Row]) -> None:
    changed = [
        {**record, "code": "tls.malformed"} if (record.get("labels") or {}).get("case") == "g_expired_leaf" else record
        for record in records
    ]
    assert set(wrong(zoo, changed)) - set(wrong(zoo, records)) == {"g_expired_leaf"}
    amended = [*records, {"kind": "amend", "result_id": _result_id(records, "a_healthy"), "fields": {"state": "fail"}}]
    assert set(wrong(zoo, amended)) - set(wrong(zoo, records)) == {"a_healthy"}
    assert verdicts(amended)["a_healthy"][0] == "fail"


def _result_id(records: Sequence[Row], server: str) -> str:
    return next(str(one["result_id"]) for one in records if (one.get("labels") or {}).get("case") == server)


def test_a_zoo_that_is_down_leaves_no_server_behind(tmp_path: Path) -> None:
    if find_program("nginx") is None or find_program("openssl") is None:
        pytest.skip("nginx or openssl is not installed")
    with standing(tmp_path) as one:
        first = one.servers[0]
        assert not _is_free(first.address, first.port)
    assert _is_free(first.address, first.port)


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((address, port)) != 0
