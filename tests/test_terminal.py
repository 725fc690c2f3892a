from __future__ import annotations

from rung.terminal import harmless


def test_nothing_steers_the_terminal_and_everything_else_stays() -> None:
    assert harmless("a\x1b[31m\r\nb\x9b\u2028\u202e") == "a\ufffd[31m\ufffd\ufffdb\ufffd\ufffd\ufffd"
    for text in ("猫 café", "a\u00a0b\u202fc", "👩\u200d🔬", "“quoted” × 3"):
        assert harmless(text) == text
