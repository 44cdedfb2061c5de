"""What is said once, and what is said again."""

import logging

from cpssl_lite.base.quiet import Once


def test_warnings_are_said_once_and_progress_as_often_as_it_happens() -> None:
    once = Once()

    def said(level: int, *lines: str) -> list[str]:
        records = [logging.makeLogRecord({"levelno": level, "msg": line}) for line in lines]
        return [record.getMessage() for record in records if once.filter(record)]

    drawn = ("drew 96 of 192 wells", "drew 192 of 192 wells")
    assert said(logging.INFO, *drawn, *drawn) == [*drawn, *drawn]  # two screens
    assert said(logging.INFO, "up to date", "up to date") == ["up to date"]
    assert said(logging.WARNING, "a", "b", "a", "b") == ["a", "b"]
