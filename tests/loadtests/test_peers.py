"""The peers' protocols: requests are the bytes that their servers expect, and answers end where they end."""

from struct import pack

import pytest

from loadtests import postgres, redis
from loadtests.answers import Answers, AnswerWrong
from loadtests.postgres import PostgresAnswers
from loadtests.redis import RedisAnswers

READY = b"Z\0\0\0\x05I"
ROW = b"D" + pack("!ihi3si4s", 4 + 2 + 4 + 3 + 4 + 4, 2, 3, b"pfn", 4, b"size")
FOUND = b"2\0\0\0\x04" + ROW + ROW + b"C\0\0\0\x0dSELECT 2\0" + READY


def cut_everywhere(make: type[Answers] | object, answer: bytes) -> None:
    assert callable(make)
    for cut in range(1, len(answer)):
        answers = make()
        assert answers.feed(answer[:cut]) is None, cut
        assert answers.feed(answer[cut:]) == answer
        assert answers.feed(answer) == answer


def test_a_postgresql_answer_ends_when_the_server_is_ready() -> None:
    cut_everywhere(PostgresAnswers, FOUND)
    assert postgres.rows(FOUND) == [[b"pfn", b"size"]] * 2


def test_a_postgresql_error_ends_the_run() -> None:
    with pytest.raises(AnswerWrong, match="duplicate key"):
        PostgresAnswers().feed(b"E\0\0\0\x20SERROR\0Mduplicate key\0\0" + READY)


def test_a_redis_answer_has_a_reply_for_each_command() -> None:
    answer = b"*2\r\n$3\r\npfn\r\n$4\r\nsize\r\n:1\r\n"
    cut_everywhere(lambda: RedisAnswers(2), answer)
    assert redis.replies(answer) == [[b"pfn", b"size"], 1]


def test_a_redis_error_ends_the_run() -> None:
    with pytest.raises(AnswerWrong, match="WRONGTYPE"):
        RedisAnswers(1).feed(b"-WRONGTYPE no\r\n")


def test_commands_are_written_as_redis_reads_them() -> None:
    assert redis.command("HSET", "é", "a b") == b"*3\r\n$4\r\nHSET\r\n$2\r\n\xc3\xa9\r\n$3\r\na b\r\n"


def test_messages_have_the_length_that_they_say() -> None:
    sent = postgres.execute("find", b"name") + postgres.prepare("find", "SELECT $1") + postgres.query("SELECT 1")
    sent += postgres.copy_in("t", ["a\tb", "c\td"]) + postgres.execute("many", postgres.texts(["a", "é"]), binary=True)
    kinds = b""
    while sent:
        kinds += sent[:1]
        sent = sent[1 + int.from_bytes(sent[1:5], "big") :]
    assert kinds == b"BESPSQQdcBES"
