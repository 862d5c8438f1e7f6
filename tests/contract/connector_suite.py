"""One suite that every connector passes against its platform on loopback.

A test file gives a class with one fixture:

    class TestStacker(ConnectorSuite):
        @pytest.fixture
        def platform(self) -> Iterator[Platform]: ...

What a connector does not claim to do is skipped by name; what it claims, it must do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import pytest

from connectors.arrow import records_of
from connectors.base import Change, Completeness, Op, Page, ReadRequest, Receipt, Record, Result, Since, Sink, Stream
from connectors.errors import ConfigError, ConnectorError, CredentialsError
from connectors.settings import Connector, Ports
from pipelines.ports import SystemClock, SystemRng

PAGE = 5
SETTLED = (Result.APPLIED, Result.ACCEPTED)


class Platform(Protocol):
    """A platform that is running on loopback, and the back door by which a test plays its other users.

    `settings` opens the connection, `refused` are the settings to change so that its credentials are refused, `secrets` are texts
    that must never be shown. `stream` is the stream that the back door fills; `key` a field that `values` makes unique.
    """

    connector: Connector
    settings: Mapping[str, Any]
    refused: Mapping[str, Any]
    secrets: Sequence[str]
    stream: str
    key: str

    def fill(self, count: int) -> None:
        """Let the stream hold exactly this many records."""

    def records(self) -> list[Record]:
        """What the stream holds, ids included."""

    def values(self, n: int) -> Record:
        """The fields of a record that nobody made yet, other ones for every n."""

    def insert(self) -> None:
        """Another user makes a record."""

    def remove(self) -> None:
        """Another user removes one of the records there were at first."""

    def before_each_read(self, happens: Callable[[], None]) -> None:
        """Call this before every further answer to a read."""


class ConnectorSuite:
    """What the engine relies on."""

    @pytest.fixture
    def platform(self) -> Iterator[Platform]:
        """The platform, with an empty stream."""
        raise NotImplementedError("a connector's test class gives its platform")

    @pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 3 * PAGE + 2])
    def test_every_record_is_read_exactly_once(self, platform: Platform, count: int) -> None:
        platform.fill(count)
        with opened(platform) as sink:
            records, proof = read(sink, sink.stream(platform.stream), ReadRequest(proof=True))
        assert same(records, platform.records())
        assert proof.complete, proof.reasons
        assert proof.count == count

    def test_what_surrounds_the_list_does_not_change_the_records(self, platform: Platform) -> None:
        platform.fill(2 * PAGE)
        with opened(platform) as sink:
            whole, _ = read(sink, sink.stream(platform.stream), ReadRequest())
            again, _ = read(sink, sink.stream(platform.stream), ReadRequest())
        assert same(whole, again)

    def test_no_record_that_stays_is_lost_while_others_come_and_go(self, platform: Platform) -> None:
        platform.fill(6 * PAGE)
        with opened(platform) as sink:
            stream = sink.stream(platform.stream)
            start = ids(platform.records(), stream)
            happened = iter(range(8))

            def churn() -> None:
                if next(happened, None) is not None:
                    platform.insert()
                    platform.remove()

            platform.before_each_read(churn)
            records, proof = read(sink, stream, ReadRequest())
        survivors = start & ids(platform.records(), stream)
        assert survivors <= ids(records, stream) or not proof.complete

    def test_records_are_found_by_key(self, platform: Platform) -> None:
        platform.fill(3 * PAGE)
        wanted = platform.records()[PAGE]
        with opened(platform) as sink:
            stream = sink.stream(platform.stream)
            if not stream.capabilities.read.keys_per_request:
                pytest.skip(f"{platform.connector.name} finds nothing by key")
            keys = ({platform.key: wanted[platform.key]}, {platform.key: "nobody has this"})
            records, _ = read(sink, stream, ReadRequest(keys=keys))
        assert same(records, [wanted])

    def test_a_read_that_goes_on_from_any_page_leaves_nothing_out(self, platform: Platform) -> None:
        platform.fill(4 * PAGE)
        with opened(platform) as sink:
            stream = sink.stream(platform.stream)
            pages = [(decoded(page), page.token) for page in sink.read(stream, ReadRequest())]
            if all(token is None for _, token in pages):
                pytest.skip(f"{platform.connector.name} gives no page that a read can go on from")
            for at, (_, token) in enumerate(pages):
                if token is not None:
                    rest, _ = read(sink, stream, ReadRequest(resume=token))
                    staged = [record for page, _ in pages[: at + 1] for record in page]
                    assert ids([*staged, *rest], stream) == ids(platform.records(), stream)

    def test_a_read_since_a_cursor_leaves_out_nothing_at_or_after_it(self, platform: Platform) -> None:
        platform.fill(3 * PAGE)
        with opened(platform) as sink:
            stream = sink.stream(platform.stream)
            for field in (platform.key, *stream.cursors):
                values = sorted(str(record[field]) for record in platform.records() if isinstance(record.get(field), str))
                bound = values[len(values) // 2]
                records, _ = read(sink, stream, ReadRequest(since=Since(field, bound)))
                wanted = [record for record in platform.records() if str(record[field]) >= bound]
                assert ids(wanted, stream) <= ids(records, stream)

    def test_asking_for_some_fields_gives_them_and_the_id(self, platform: Platform) -> None:
        platform.fill(PAGE)
        with opened(platform) as sink:
            stream = sink.stream(platform.stream)
            records, _ = read(sink, stream, ReadRequest(fields=(platform.key,)))
        of = {record[stream.id_field]: record[platform.key] for record in platform.records()}
        assert {record[stream.id_field]: record[platform.key] for record in records} == of

    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_what_was_created_is_read_back_equal(self, platform: Platform, count: int) -> None:
        with opened(platform) as sink:
            stream = able(sink, platform, "create")
            changes = [Change(n, "create", key(platform, n), platform.values(n)) for n in range(count)]
            receipts = write(sink, stream, changes)
            keys = tuple(key(platform, n) for n in range(count))
            records, _ = read(sink, stream, ReadRequest(keys=keys))
        assert {receipt.result for receipt in receipts} <= set(SETTLED)
        assert len(platform.records()) == count
        of = {record[platform.key]: record for record in records}
        for n in range(count):
            values = platform.values(n)
            assert {name: of[values[platform.key]].get(name) for name in values} == values
        for receipt, change in zip(receipts, changes, strict=True):
            if receipt.result is Result.APPLIED and receipt.sink_id is not None:
                assert of[change.key[platform.key]][stream.id_field] == receipt.sink_id

    def test_an_update_changes_its_fields_and_no_others(self, platform: Platform) -> None:
        platform.fill(2)
        with opened(platform) as sink:
            stream = able(sink, platform, "update")
            target, other = platform.records()
            fields = {name: value for name, value in platform.values(1).items() if name != platform.key}
            name = next(name for name, value in fields.items() if value != target.get(name))
            change = Change(1, "update", {platform.key: target[platform.key]}, {name: fields[name]}, target[stream.id_field], target)
            receipts = write(sink, stream, [change])
        of = {record[stream.id_field]: record for record in platform.records()}
        assert receipts[0].result in SETTLED
        assert of[target[stream.id_field]][name] == fields[name]
        unchanged = set(fields) - {name} | {platform.key}
        assert all(of[target[stream.id_field]].get(one) == target.get(one) for one in unchanged)
        assert of[other[stream.id_field]] == other

    def test_a_delete_removes_its_record_and_no_other_and_may_be_repeated(self, platform: Platform) -> None:
        platform.fill(3)
        with opened(platform) as sink:
            stream = able(sink, platform, "delete")
            target, *others = platform.records()
            change = Change(1, "delete", {platform.key: target[platform.key]}, {}, target[stream.id_field], target)
            once, twice = write(sink, stream, [change]), write(sink, stream, [change])
        assert same(platform.records(), others)
        assert once[0].result in SETTLED
        assert twice[0].result in (*SETTLED, Result.MISSING)

    def test_an_update_of_a_record_that_is_gone_makes_none(self, platform: Platform) -> None:
        platform.fill(2)
        with opened(platform) as sink:
            stream = able(sink, platform, "update")
            able(sink, platform, "delete")
            target = platform.records()[0]
            write(sink, stream, [Change(1, "delete", {}, {}, target[stream.id_field], target)])
            fields = {name: value for name, value in platform.values(1).items() if name != platform.key}
            receipts = write(sink, stream, [Change(2, "update", {}, fields, target[stream.id_field], target)])
        assert receipts[0].result in (Result.MISSING, Result.ACCEPTED)
        assert len(platform.records()) == 1

    @pytest.mark.parametrize("op", ["create", "update", "delete"])
    def test_every_change_has_exactly_one_receipt(self, platform: Platform, op: Op) -> None:
        platform.fill(4)
        with opened(platform) as sink:
            stream = able(sink, platform, op)
            held = platform.records()
            changes = [
                Change(
                    10 + n,
                    op,
                    key(platform, n),
                    {} if op == "delete" else platform.values(n),
                    None if op == "create" else record[stream.id_field],
                )
                for n, record in enumerate(held)
            ]
            receipts = write(sink, stream, changes)
        assert [receipt.seq for receipt in receipts] == [change.seq for change in changes]

    def test_no_change_is_no_request(self, platform: Platform) -> None:
        with opened(platform) as sink:
            stream = sink.stream(platform.stream)
            before = dict(sink.request_counts())
            assert list(sink.write(stream, [])) == []
            assert dict(sink.request_counts()) == before

    def test_reads_and_writes_are_counted_apart(self, platform: Platform) -> None:
        platform.fill(1)
        with opened(platform) as sink:
            stream = able(sink, platform, "create")
            read(sink, stream, ReadRequest())
            assert sink.request_counts()["write"] == 0
            write(sink, stream, [Change(1, "create", key(platform, 1), platform.values(1))])
            assert sink.request_counts()["write"] == 1

    def test_refused_credentials_are_a_credentials_error_without_the_secret(self, platform: Platform) -> None:
        platform.fill(1)
        with opened(platform, **platform.refused) as sink, pytest.raises(CredentialsError) as refused:
            read(sink, sink.stream(platform.stream), ReadRequest())
        shown = f"{refused.value} {refused.value!r}"
        assert not any(str(secret) in shown for secret in (*platform.secrets, *platform.refused.values()))

    def test_a_stream_that_does_not_exist_is_an_error(self, platform: Platform) -> None:
        with opened(platform) as sink, pytest.raises(ConnectorError, match="no_such_stream"):
            read(sink, sink.stream("no_such_stream"), ReadRequest())

    def test_a_check_finds_a_working_connection_fine_and_writes_nothing(self, platform: Platform) -> None:
        platform.fill(2 * PAGE)
        before = platform.records()
        with opened(platform) as sink:
            findings = list(sink.check())
            assert sink.request_counts()["write"] == 0
        assert findings
        assert all(finding.ok for finding in findings), findings
        assert platform.records() == before

    def test_a_check_with_refused_credentials_says_so(self, platform: Platform) -> None:
        with opened(platform, **platform.refused) as sink:
            assert not all(finding.ok for finding in sink.check())

    def test_no_secret_is_shown_by_settings_or_connection(self, platform: Platform) -> None:
        settings = platform.connector.settings(**platform.settings)
        with opened(platform) as sink:
            shown = f"{settings!r} {settings} {settings.model_dump_json()} {sink!r} {vars(sink)!r}"
        assert not any(secret in shown for secret in platform.secrets)

    def test_a_setting_that_does_not_exist_is_refused(self, platform: Platform) -> None:
        with pytest.raises(ValueError, match="no_such_setting"):
            platform.connector.settings(**platform.settings, no_such_setting=1)

    def test_every_operation_is_a_function_of_the_client(self, platform: Platform) -> None:
        client = platform.connector.client(platform.connector.settings(**platform.settings), ports())
        try:
            for operation in platform.connector.operations:
                assert callable(getattr(client, operation.name)), operation.name
                assert operation.evidence.strip(), operation.name
        finally:
            client.close()

    def test_what_a_stream_can_do_is_shown_by_a_sentence_of_the_document(self, platform: Platform) -> None:
        with opened(platform) as sink:
            able_to = sink.stream(platform.stream).capabilities
        assert able_to.read.evidence
        assert all(can.evidence for can in (able_to.create, able_to.update, able_to.delete) if can is not None)

    def test_what_a_stream_does_not_claim_to_do_is_refused_and_nothing_is_sent(self, platform: Platform) -> None:
        ops: tuple[Op, ...] = ("create", "update", "delete")
        with opened(platform) as sink:
            closed = [(stream, op) for stream in sink.streams() for op in ops if stream.capabilities.write(op) is None]
            if not closed:
                pytest.skip(f"every stream of {platform.connector.name} can be created, updated and deleted")
            before = sink.request_counts()["write"]
            for stream, op in closed:
                fields = {} if op == "delete" else {"name": "x"}
                with pytest.raises(ConfigError):
                    write(sink, stream, [Change(1, op, {"name": "x"}, fields, None if op == "create" else "1")])
            assert sink.request_counts()["write"] == before

    def test_one_call_writes_changes_of_one_kind(self, platform: Platform) -> None:
        platform.fill(2)
        with opened(platform) as sink:
            stream = able(sink, platform, "update")
            record = platform.records()[0]
            both = [
                Change(1, "create", key(platform, 1), platform.values(1)),
                Change(2, "update", {}, {"name": "x"}, record[stream.id_field], record),
            ]
            with pytest.raises(ConfigError, match="of one kind"):
                list(sink.write(stream, both))
        assert len(platform.records()) == 2


def ports() -> Ports:
    """The real world."""
    return Ports(SystemClock(), SystemRng())


@contextmanager
def opened(platform: Platform, **changed: Any) -> Iterator[Sink]:
    """A connection in small pages, some of its settings changed."""
    settings = platform.connector.settings(**{"page_size": PAGE, **platform.settings, **changed})
    sink = platform.connector.open(settings, ports())
    assert isinstance(sink, Sink)
    try:
        yield sink
    finally:
        sink.close()
        sink.close()  # twice is no error


def read(source: Any, stream: Stream, request: ReadRequest) -> tuple[list[Record], Completeness]:
    """All records of a read, without what its pages say to drop, and what it proved."""
    reading = source.read(stream, request)
    records: list[Record] = []
    for page in reading:
        records += decoded(page)
    return records, reading.completeness


def decoded(page: Page) -> list[Record]:
    """The records of a page that no earlier page had."""
    held = page.records if isinstance(page.records, list) else records_of(page.records)
    assert len(held) == page.count
    return [record for position, record in enumerate(held) if position not in page.drop]


def write(sink: Sink, stream: Stream, changes: Sequence[Change]) -> list[Receipt]:
    """The receipts in the order of the changes, in calls no larger than the stream allows."""
    can = stream.capabilities.write(changes[0].op)
    size = can.max_batch if can else len(changes)
    receipts = [receipt for at in range(0, len(changes), size) for receipt in sink.write(stream, changes[at : at + size])]
    return sorted(receipts, key=lambda receipt: receipt.seq)


def able(sink: Sink, platform: Platform, op: Op) -> Stream:
    """The platform's stream, if it claims to be able to do this."""
    stream = sink.stream(platform.stream)
    if stream.capabilities.write(op) is None:
        pytest.skip(f"{platform.connector.name} cannot {op}")
    return stream


def key(platform: Platform, n: int) -> Record:
    """The key of the n-th new record."""
    return {platform.key: platform.values(n)[platform.key]}


def ids(records: Sequence[Record], stream: Stream) -> set[Any]:
    """The ids of records."""
    return {record[stream.id_field] for record in records}


def same(some: Sequence[Record], others: Sequence[Record]) -> bool:
    """Whether these are the same records, in whatever order, each as often."""
    return sorted(map(repr, map(_sorted, some))) == sorted(map(repr, map(_sorted, others)))


def _sorted(record: Record) -> list[tuple[str, Any]]:
    return sorted(record.items())
