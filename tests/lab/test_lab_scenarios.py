"""Scenario files: what comes with the package is whole, and what is wrong is named with file and place."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetprobe.lab.fleet import all_targets, load_fleet, scan_groups
from fleetprobe.lab.load import ScenarioError, load_scenario
from fleetprobe.lab.preflight import OPTIONAL
from fleetprobe.lab.scenario import Place, Scenario, Verb
from fleetprobe.lab.topology import DELAY, DelayedLink, build_script, delayed, namespaces, nft_rules
from tests.lab.signatures import SIGNATURES, WARNINGS

FLEET = load_fleet()
BY_NAME = {scenario.name: scenario for scenario in FLEET}

GOOD = """
title = "A port that answers"
teaches = "Nothing."
[[server]]
addresses = ["203.0.113.99"]
port = 80
steps = ["request", "say hello", "reset"]
[[target]]
target = "http://203.0.113.99/"
expect = { state = "fail", code = "tcp.reset", confidence = "observed" }
lookalike = "other"
"""


def write(directory: Path, text: str, name: str = "one") -> Path:
    path = directory / f"{name}.toml"
    path.write_text(text)
    return path


def test_the_fleet_is_as_large_as_promised() -> None:
    assert len(FLEET) >= 25
    assert len(all_targets(FLEET)) >= 40
    families = {":" in target.target.partition("//")[2].rpartition(":")[0] for target in all_targets(FLEET)}
    assert families == {True, False}


def test_every_expected_code_has_a_mark_on_the_wire() -> None:
    codes = {code for target in all_targets(FLEET) for code in target.expect.code}
    findings = {code for target in all_targets(FLEET) for code in target.expect.findings}
    assert codes == set(SIGNATURES)
    assert findings == set(WARNINGS)


@pytest.mark.parametrize("scenario", FLEET, ids=lambda scenario: scenario.name)
def test_a_lookalike_is_told_apart_by_state_code_or_finding(scenario: Scenario) -> None:
    for target in scenario.targets:
        other = BY_NAME[target.lookalike]
        assert any(
            (t.expect.state, t.expect.code, t.expect.findings)
            != (target.expect.state, target.expect.code, target.expect.findings)
            for t in other.targets
        ), f"{target.case} and {other.name} expect the same"


def test_cases_are_unique_and_travel_as_a_label() -> None:
    targets = all_targets(FLEET)
    assert len({target.case for target in targets}) == len(targets)
    assert all(target.inventory_fields()["labels"]["case"] == target.case for target in targets)


def test_scenarios_with_wishes_are_scanned_apart() -> None:
    groups = scan_groups(FLEET)
    assert groups[0].name == "main"
    assert sum(len(group.targets) for group in groups) == len(all_targets(FLEET))
    own = {scenario.run.vantage for scenario in FLEET if scenario.own}
    assert len(own) >= 8
    assert {group.settings.vantage for group in groups} == {Place.CLIENT, Place.CLIENT_V4} | own
    assert ("--resolver", "203.0.113.60") in {group.settings.args for group in groups}


def test_programs_a_scenario_needs_are_known() -> None:
    assert {need for scenario in FLEET for need in scenario.needs} <= set(OPTIONAL)


def test_nothing_leaves_the_test_networks() -> None:
    script = build_script(FLEET, Path("/state"))
    assert "eth0" in script
    assert not {"10.", "172.16", "192.168", "8.8.8.8"} & set(script.split())
    for target in all_targets(FLEET):
        host = target.target.partition("//")[2]
        assert host.startswith(("203.0.113.", "198.51.100.", "198.18.", "[2001:db8:")) or ".lab.test" in host


def test_rules_carry_the_name_of_their_scenario() -> None:
    assert nft_rules(Place.ROUTER_FAR, FLEET).count('comment "syn-dropped-on-the-way"') == 2


def test_what_breaks_a_vantage_of_its_own_comes_last_and_there_only() -> None:
    scenario = BY_NAME["own-interface-down"]
    script = build_script(FLEET, Path("/state"))
    last = script.rindex("ip link set eth0 down")
    assert script.index("ip link set eth0 down") == last > script.rindex("RULES")
    assert script[:last].rstrip().endswith(f"nsenter --net=/state/ns/{scenario.run.vantage} sh -e <<'INSIDE'")


def test_a_vantage_of_its_own_is_a_client_like_any_other() -> None:
    script = build_script(FLEET, Path("/state"))
    for scenario in FLEET:
        if scenario.own:
            assert scenario.run.vantage in namespaces(FLEET)
            assert f"address add {scenario.own.addresses[0]}/24 dev eth0" in script
            assert f"address add {scenario.own.gateways[1]}/64 dev {scenario.own.device} nodad" in script
    assert namespaces(FLEET)[: len(Place)] == tuple(Place)


def test_a_link_that_takes_time_has_two_halves_and_whole_checksums(tmp_path: Path) -> None:
    here = load_scenario(write(tmp_path, f"{GOOD}[own]\nnumber = 9"))
    away = load_scenario(write(tmp_path, f"{GOOD}[own]\nnumber = 9\ndelay_ms = 40\nmtu_bytes = 9000", "away"))
    assert delayed([here]) == ()
    assert delayed([here, away]) == (DelayedLink("v9", "o9", 40, 9000),)
    assert namespaces([here, away]) == (*Place, "cl-one", "cl-away", DELAY)
    plain, script = build_script([here], Path("/state")), build_script([away], Path("/state"))
    assert "tx off" not in plain
    for name, ends in (("eth0", 1), ("v9", 1), ("o9", 2)):
        assert script.count(f"ethtool -K {name} tso off gso off gro off tx off") == ends
    assert [script.count(f"ip link set {name} mtu 9000 up") for name in ("v9", "o9")] == [1, 2]
    assert "ip link add eth0 netns /state/ns/cl-away type veth peer name v9 netns /state/ns/delay" in script
    assert "ip link add o9 netns /state/ns/delay type veth peer name o9 netns /state/ns/r1" in script


def test_the_server_has_a_wide_route_to_those_only_who_have_a_wide_link(tmp_path: Path) -> None:
    plain = load_scenario(write(tmp_path, f"{GOOD}[own]\nnumber = 9"))
    wide = load_scenario(write(tmp_path, f"{GOOD}[own]\nnumber = 9\nmtu_bytes = 9000"))
    for route in ("route add 198.18.109.10/32 via 203.0.113.1\n", "route add 2001:db8:1:9::10/128 via 2001:db8:3::1\n"):
        assert route in build_script([wide], Path("/state"))
        assert route not in build_script([plain], Path("/state"))
    assert "route add 0.0.0.0/0 via 203.0.113.1 mtu 1500\n" in build_script([wide], Path("/state"))


def test_an_expectation_can_leave_open_what_is_chance(tmp_path: Path) -> None:
    text = GOOD.replace('state = "fail", code = "tcp.reset", confidence = "observed"',
                        'state = ["ok", "slow"], without = ["mtu.black_hole"]')
    (target,) = load_scenario(write(tmp_path, text)).targets
    assert (target.expect.state, target.expect.code, str(target.expect)) == (("ok", "slow"), (), "ok or slow")


def test_a_script_is_read_verb_by_verb(tmp_path: Path) -> None:
    (server,) = load_scenario(write(tmp_path, GOOD)).servers
    assert [step.verb for step in server.steps] == [Verb.REQUEST, Verb.SAY, Verb.RESET]
    assert server.steps[1].argument == "hello"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("port = 80", "port = 0", r"one\.toml \[server 1\]: `port` must lie between 1 and 65535"),
        ("port = 80", "port = true", "`port` has the wrong type"),
        ("port = 80", "", "`port` is missing"),
        ("port = 80", "port = 80\nbacklog_full = true", "either `steps` or `backlog_full"),
        ("203.0.113.99", "203.0.113.999", "is not an IP address"),
        ('"reset"]', '"explode"]', "`steps` is 'explode'; it can be hear"),
        ('"reset"]', '"reset now"]', "wrong argument for `reset`"),
        ('"reset"]', '"wait"]', "wrong argument for `wait`"),
        ('"reset"]', '"wait 61"]', "wrong argument for `wait`"),
        ('"reset"]', '"fill 99999999"]', "wrong argument for `fill`"),
        ('"reset"]', '"answer"]', "wrong argument for `answer`"),
        ('"reset"]', '"answer 6.5"]', "wrong argument for `answer`"),
        ("port = 80", 'port = 80\nplace = "r9"', r"\[server 1\]: `place` is 'r9'; it can be cl, cl4, r1"),
        ("port = 80", 'port = 80\nplace = "r3"\nnginx = "return 204;"', r"\[server 1\]: .*are for sv only"),
        ("lookalike", "path_bytes = 1\nlookalike", r"\[target 1\]: `path_bytes` must lie between 2 and 2048, not 1"),
        ('confidence = "observed"', 'columns = { mtu = 1400 }', "'mtu' is no column of a record"),
        ('confidence = "observed"', 'columns = { path_mtu_bytes = 1.5 }', "`path_mtu_bytes` must be a string or"),
        ('confidence = "observed"', 'without = ["MTU"]', "'MTU' is not a code"),
        ('"reset"]', '"hex 1g"]', "wrong argument for `hex`"),
        ('"reset"]', '"tls"]', "`certificate` must be given"),
        ('"reset"]', '"once close"]', "`certificate` must be given"),
        ('"reset"]', '"once"]', "wrong argument for `once`"),
        ('"reset"]', '"once answer"]', "wrong argument for `once`"),
        ('code = "tcp.reset", ', "", "has a `code` exactly when its state is not ok"),
        ('"tcp.reset"', '"RST"', "'RST' is not a code"),
        ('state = "fail"', 'state = "bad"', "`state` is 'bad'"),
        ('state = "fail"', 'state = ["fail", "bad"]', "`state` is 'bad'"),
        ('state = "fail"', 'state = []', r"\[expect\]: `state` is missing"),
        ('state = "fail"', 'state = ["ok", "fail"]', "has a `code` exactly when its state is not ok"),
        ('state = "fail", code = "tcp.reset"', 'state = ["ok", "fail"]', "`without` must say what is wrong"),
        ('"tcp.reset"', '["tcp.reset", "RST"]', "'RST' is not a code"),
        ('"observed"', '"sure"', "`confidence` is 'sure'"),
        ('"observed"', '["observed", "sure"]', "`confidence` is 'sure'"),
        ('"observed"', '7', "`confidence` has the wrong type"),
        ('title = "A port that answers"', 'title = 7', "`title` has the wrong type"),
        ('teaches = "Nothing."', 'teaches = "Nothing."\nwhy = "?"', "unknown key why"),
        ("lookalike", 'colour = "red"\nlookalike', "unknown key colour"),
        ("[[target]]", "[firewall.r9]\n[[target]]", "it can be cl, cl4, r1"),
        ("[[target]]", '[run]\nvantage = "sv"\n[[target]]', "`vantage` must be one of cl, cl4"),
        ("[[target]]", '[own]\nnumber = 100\n[[target]]', "`number` must lie between 1 and 99"),
        ("[[target]]", '[own]\nnumber = 1\ndelay_ms = 0\n[[target]]',
         r"one\.toml \[own\]: `delay_ms` must lie between 1 and 1000, not 0"),
        ("[[target]]", '[own]\nnumber = 1\ndelay_ms = 1001\n[[target]]', "`delay_ms` must lie between 1 and 1000"),
        ("[[target]]", '[own]\nnumber = 1\ndelay_ms = 0.5\n[[target]]', r"`delay_ms` has the wrong type \(float\)"),
        ("[[target]]", '[own]\nnumber = 1\nmtu_bytes = 9001\n[[target]]', r"\[own\]: `mtu_bytes` must lie between"),
        ("[[target]]", '[own]\nnumber = 1\nsettings = ["a b"]\n[[target]]', "setting 'a b': write NAME=VALUE"),
        ("[[target]]", '[settings]\nr1 = ["../x=1"]\n[[target]]', r"setting '../x=1': write NAME=VALUE"),
        ("[[target]]", '[own]\nnumber = 1\n[run]\nvantage = "cl4"\n[[target]]', "leave `vantage` out"),
        ("[[target]]", '[hosts."a.lab.test"]\naddress = "x"\n[[target]]', "'x' is not an IP address"),
        ("[[target]]", '[dns."WWW.lab.test"]\n[[target]]', "must be lower case and end in .lab.test"),
        ("[[target]]", '[dns."a.lab.test"]\nrcode = "NO"\n[[target]]', "`rcode` is 'NO'"),
        ("[[server]]", "[[server]", r"one\.toml: .*line"),
    ],
)
def test_a_mistake_is_named_with_file_and_place(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(ScenarioError, match=complaint) as caught:
        load_scenario(write(tmp_path, GOOD.replace(old, new, 1)))
    assert str(caught.value).startswith("one.toml")


def test_the_path_of_a_long_request_is_written_as_its_length(tmp_path: Path) -> None:
    text = GOOD.replace('"http://203.0.113.99/"', '"http://203.0.113.99"\npath_bytes = 2000')
    (target,) = load_scenario(write(tmp_path, text)).targets
    assert target.target == "http://203.0.113.99/" + "x" * 1999


def test_a_server_can_stand_on_another_machine_which_then_has_its_address(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, GOOD.replace("port = 80", 'port = 80\nplace = "r3"')))
    assert scenario.addresses_at(Place.ROUTER_ASIDE) == scenario.server_addresses == ("203.0.113.99",)
    assert scenario.addresses_at(Place.SERVER) == ()
    script = build_script([scenario], Path("/state"))
    there = script.index("address add 203.0.113.99/32 dev m0")
    assert script.rindex("nsenter", 0, there) == script.rindex("nsenter --net=/state/ns/r3 ", 0, there)


def test_a_file_name_must_be_words_joined_by_hyphens(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"Bad_Name\.toml: the file's name"):
        load_scenario(write(tmp_path, GOOD, "Bad_Name"))


def other(text: str) -> str:
    return text.replace('"other"', '"one"')


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        (other(GOOD), "address 203.0.113.99 belongs to several scenarios: one, other"),
        (other(GOOD).replace("203.0.113.99", "203.0.113.53"), "203.0.113.53 belongs to the lab itself"),
        (GOOD.replace("203.0.113.99", "203.0.113.98"), "'other' is no other scenario's name"),
        (
            other(GOOD).replace("203.0.113.99", "203.0.113.98")
            + '[firewall.r1]\nforward = ["ip daddr 203.0.113.99 drop"]', "hits one",
        ),
        (
            other(GOOD).replace("203.0.113.99", "203.0.113.98")
            + '[firewall.r1]\nforward = ["tcp dport 80 drop"]',
            "names no address",
        ),
        (
            other(GOOD).replace("203.0.113.99", "203.0.113.98")
            + '[[server]]\naddresses = ["203.0.113.98"]\nport = 80\nsteps = ["close"]',
            "two servers listen on 203.0.113.98 port 80",
        ),
        (
            other(GOOD).replace("203.0.113.99", "203.0.113.98") + "[own]\nnumber = 9",
            "own vantage 9 belongs to several scenarios: one, other",
        ),
        (
            other(GOOD).replace("203.0.113.99", "203.0.113.98")
            + '[firewall.r1]\nforward = ["ip daddr 198.18.109.10 drop"]', "hits one",
        ),
    ],
)
def test_scenarios_that_would_disturb_each_other_are_refused(
    tmp_path: Path, second: str, complaint: str
) -> None:
    write(tmp_path, f"{GOOD}[own]\nnumber = 9", "one")
    write(tmp_path, second, "other")
    with pytest.raises(ScenarioError, match=complaint):
        load_fleet(tmp_path)


def test_a_fleet_can_be_narrowed_to_named_scenarios(tmp_path: Path) -> None:
    assert [s.name for s in load_fleet(only=["port-closed-on-host"])] == ["port-closed-on-host"]
    with pytest.raises(ScenarioError, match="no such scenario: nowhere"):
        load_fleet(only=["nowhere"])
    with pytest.raises(ScenarioError, match="holds no scenario"):
        load_fleet(tmp_path)
