"""What the comparison with other tools reads out of their words, on outputs that they gave in the laboratory."""

from __future__ import annotations

import json

import pytest

from benchmarks.mtu_tools import TOOLS

TOLD = {tool.title: tool.told for tool in TOOLS}
TRACEPATH = """\
 1?: [LOCALHOST]                      pmtu 1500
 1:  198.18.130.1                                          0.062ms
 1:  198.18.130.1                                          0.010ms pmtu 1400
 2:  198.18.12.2                                           0.022ms
 3:  203.0.113.130                                         0.039ms reached
     Resume: pmtu 1400 hops 3 back 3
"""
LOST_TRACEPATH = """\
 1?: [LOCALHOST]                      pmtu 1500
 1:  198.18.134.1                                          0.060ms
 2:  no reply
     Too many hops: pmtu 1500
     Resume: pmtu 1500
"""
NMAP = """\
PORT   STATE SERVICE
80/tcp open  http

Host script results:
|_path-mtu: 1006 <= PMTU < 1492

Nmap done: 1 IP address (1 host up) scanned in 0.22 seconds
"""
SCAMPER = """\
traceroute from 198.18.134.10 to 203.0.113.134
 1  198.18.134.1  0.028 ms [mtu: 1500]
 2  198.18.12.2  0.049 ms [{star}mtu: 1400]
 3  203.0.113.134  0.076 ms [{star}mtu: 1400]
"""
PING_TOO_BIG = """\
From 198.18.130.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)
2 packets transmitted, 0 received, +2 errors, 100% packet loss, time 1034ms
ping: local error: message too long, mtu=1400
"""
CURL_LATE = "000 0 5.001371\ncurl: (28) Operation timed out after 5001 milliseconds with 0 bytes received\n"


@pytest.mark.parametrize(
    ("title", "text", "words"),
    [
        ("tracepath", TRACEPATH, "1400"),
        ("tracepath", LOST_TRACEPATH, "1500, not reached"),
        ("tracepath", "", "nothing"),
        ("nmap path-mtu", NMAP, "1006 <= PMTU < 1492"),
        ("nmap path-mtu", NMAP.replace("|_path", "|_other"), "nothing"),
        ("scamper trace -M", SCAMPER.format(star=""), "1400 from hop 2"),
        ("scamper trace -M", SCAMPER.format(star="*"), "1400 from hop 2, unsaid"),
        ("scamper trace -M", SCAMPER.format(star="").replace("1400", "1500"), "1500"),
        ("scamper trace -M", "traceroute from 198.18.1.10 to 203.0.113.11\n 1  *\n 2  *\n", "nothing"),
        ("ping -M do, 1500", PING_TOO_BIG, "too big, 1400"),
        ("ping -M do, 1500", "2 packets transmitted, 2 received, 0% packet loss, time 1002ms", "fine"),
        ("ping -M do, 1500", "2 packets transmitted, 0 received, 100% packet loss, time 1026ms", "100 % loss"),
        ("curl http", "200 6000 0.001200\n", "200, 6000 bytes"),
        ("curl http", "200 6000 3.204100\n", "200, 6000 bytes in 3 s"),
        ("curl http", CURL_LATE, "hangs, 0 bytes in 5 s"),
    ],
)
def test_a_tools_output_is_cut_down_to_what_it_says(title: str, text: str, words: str) -> None:
    assert TOLD[title](text) == words


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"state": "ok"}, "ok"),
        ({"state": "fail", "code": "mtu.black_hole", "path_mtu_direction": "reverse", "path_mtu_bytes": 1400},
         "mtu.black_hole, reverse 1400"),
        ({"state": "ok", "findings": [{"code": "mtu.reduced"}, {"code": "http.waf"}, {"code": "mtu.clamped"}]},
         "ok, warns mtu.reduced and mtu.clamped"),
    ],
)
def test_our_own_record_is_cut_down_to_verdict_warnings_and_size(row: dict[str, object], words: str) -> None:
    whole = {"kind": "result", "code": None, "findings": [], "path_mtu_direction": None, "path_mtu_bytes": None, **row}
    assert TOLD["fleetprobe http"](f'{{"kind": "run_start"}}\n{json.dumps(whole)}\n') == words
