"""What ended a command is found among the causes of an error, however those are chained."""

from connectors.errors import ConfigError
from pipelines.commands.exits import cause


def test_the_first_error_of_ours_is_found_behind_those_that_wrap_it() -> None:
    ours, wrapped = ConfigError("no such stream"), RuntimeError("a step failed")
    wrapped.__context__ = ours
    assert cause(wrapped) is ours


def test_causes_that_come_back_to_each_other_are_walked_once() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert cause(one) is one
