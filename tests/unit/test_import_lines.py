from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.csv_import.lines import LINE_BYTES_MAX, RECORD_LINES_MAX, CsvLines, Dialect
from shared.errors import BadImport

HEADER = b"a,b,c\n"


def read(content: bytes, dialect: Dialect | None = None) -> list[tuple[int, list[str], str]]:
    lines = CsvLines(io.BytesIO(content), dialect or Dialect())
    return [(record.line, record.fields, record.reason) for record in lines]


def rejected(content: bytes) -> dict[int, str]:
    return {line: reason for line, _, reason in read(HEADER + content) if reason}


def test_a_line_is_split_at_its_delimiters():
    assert read(b"a,b,c\n1,2,3\n4,5,6") == [(2, ["1", "2", "3"], ""), (3, ["4", "5", "6"], "")]


def test_a_byte_order_mark_is_no_part_of_the_header():
    assert CsvLines(io.BytesIO(b"\xef\xbb\xbfa,b\n"), Dialect()).header == ["a", "b"]


def test_lines_before_the_header_are_passed_over_but_counted():
    assert read(b"exported 2012\n\na,b\n1,2\n", Dialect(skip_lines=2)) == [(4, ["1", "2"], "")]


def test_more_lines_to_pass_over_than_there_are_end_with_the_file():
    with pytest.raises(BadImport, match="the file is empty"):
        read(b"a,b\n1,2\n", Dialect(skip_lines=10**15))


def test_a_line_that_an_encoding_of_names_can_not_read_is_refused():
    found = read(b"a\nxn--\xff\nok\n", Dialect(encoding="idna"))
    assert [bool(reason) for _, _, reason in found] == [True, False]


def test_another_delimiter_quote_and_encoding_are_read():
    dialect = Dialect(delimiter=";", quote="'", encoding="cp1252")
    assert read("a;b\n'Gy\xf6r;1';2\n".encode("cp1252"), dialect) == [(2, ["Györ;1", "2"], "")]


def test_a_quoted_field_may_hold_delimiters_quotes_and_line_ends():
    content = b'"x,y","say ""hi""","two\nlines"\n7,8,9\n'
    assert read(HEADER + content) == [
        (2, ["x,y", 'say "hi"', "two\nlines"], ""),
        (4, ["7", "8", "9"], ""),
    ]


def test_a_quote_in_the_middle_of_a_field_is_a_character():
    assert read(HEADER + b'5" pipe,2,3\n') == [(2, ['5" pipe', "2", "3"], "")]


def test_lines_without_any_content_are_left_out():
    assert read(HEADER + b"\n,,\r\n1,2,3\r\n\n") == [(4, ["1", "2", "3"], "")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"1,2\n", "2 fields, the header has 3"),
        (b"1,2,3,4\n", "4 fields, the header has 3"),
        (b"1,\xff,3\n", "not utf-8: byte 3 is 0xff"),
        (b'1,"2,3\n', "a quote is opened and not closed within 2 lines"),
        (b'1,"2"x,3\n', "not CSV: ',' expected after '\"'"),
        (b'"1","2"\n', "2 fields, the header has 3"),
    ],
)
def test_a_bad_line_is_refused_with_its_reason_and_the_next_is_read(content: bytes, reason: str):
    found = read(HEADER + content + b"7,8,9\n")
    assert found[0] == (2, [], reason)
    assert found[-1] == (3, ["7", "8", "9"], "")


def test_a_quote_left_open_costs_its_own_line_only():
    good = b"".join(b"%d,x,y\n" % n for n in range(300))
    found = read(HEADER + b'1,"2,3\n' + good)
    assert found[0][0] == 2
    assert found[0][2] == f"a quote is opened and not closed within {RECORD_LINES_MAX} lines"
    assert [fields[0] for _, fields, reason in found if not reason] == [str(n) for n in range(300)]


def test_a_quote_left_open_does_not_swallow_a_line_with_quotes_of_its_own():
    found = read(HEADER + b'1,2,"three\n"4",5,"six"\n')
    assert [(line, bool(reason)) for line, _, reason in found] == [(2, True), (3, False)]


def test_two_short_lines_joined_by_quotes_are_refused_one_by_one():
    assert rejected(b'1,"2\n3"\n7,8,9\n').keys() == {2, 3}


def test_an_undecodable_line_within_quotes_costs_the_line_that_opened_them():
    assert rejected(b'1,"2,3\n4,\xfe,6\n7,8,9\n').keys() == {2, 3}


def test_a_line_of_any_length_is_refused_without_being_held():
    found = read(HEADER + b"x" * (3 * LINE_BYTES_MAX) + b"\n7,8,9\n")
    assert found[0][2] == f"the line is longer than {LINE_BYTES_MAX} bytes"
    assert found[1] == (3, ["7", "8", "9"], "")


def test_a_refused_line_is_kept_as_it_was():
    lines = CsvLines(io.BytesIO(HEADER + b"1,\xff\n"), Dialect())
    assert [record.original for record in lines] == [b"1,\xff\n"]


@pytest.mark.parametrize("content", [b"", b"\n\n"[:0], b'a,"b\n', b"\xff\xfe\n"])
def test_a_file_without_a_readable_header_is_refused(content: bytes):
    with pytest.raises(BadImport):
        CsvLines(io.BytesIO(content), Dialect())


CELL = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00\r"), max_size=12
)


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=20))
def test_whatever_a_csv_writer_writes_is_read_as_it_was(rows: list[list[str]]):
    rows = [row for row in rows if any(row)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["a", "b", "c"])
    writer.writerows(rows)
    assert [fields for _, fields, _ in read(text.getvalue().encode())] == rows


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=30))
def test_any_bytes_give_records_in_order_and_every_good_line_after_them(lines: list[bytes]):
    content = HEADER + b"".join(line + b"\n" for line in lines)
    good = b"".join(b"%d,x,y\n" % n for n in range(RECORD_LINES_MAX + 1))
    found = read(content + good)
    assert [line for line, _, _ in found] == sorted({line for line, _, _ in found})
    tail = [fields[0] for line, fields, reason in found if line > len(lines) + 1 and not reason]
    assert tail == [str(n) for n in range(RECORD_LINES_MAX + 1)]
