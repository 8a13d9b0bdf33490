from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.csv_import.values import Reading, fitting, reader_of
from shared.catalog import Column, ColumnType, Kind
from shared.errors import InvalidValue

TIMESTAMP = Column("at", ColumnType(Kind.TIMESTAMP))
DATE = Column("on", ColumnType(Kind.DATE))
DECIMAL = Column("qty", ColumnType(Kind.DECIMAL, precision=18, scale=6))
INTEGER = Column("n", ColumnType(Kind.INTEGER))
FLAG = Column("flag", ColumnType(Kind.BOOLEAN), nullable=False)
TEXT = Column("text", ColumnType(Kind.TEXT, length=10))
CODE = Column("code", ColumnType(Kind.TEXT, length=20), nullable=False, values=("A", "B"))
LOG = "%Y/%m/%d %H:%M:%S.%f"


def read(column: Column, text: str, **reading: Any) -> Any:
    return reader_of(column, Reading(**reading))(text)


def refusal(column: Column, text: str, **reading: Any) -> str:
    with pytest.raises(InvalidValue) as refused:
        read(column, text, **reading)
    return str(refused.value)


# --- instants ----------------------------------------------------------------------------------


def test_an_instant_of_the_log_is_read_as_utc():
    found = read(TIMESTAMP, "2012/01/29 23:24:00.000", format=LOG)
    assert found == "2012-01-29T23:24:00.000Z"


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("%d.%m.%Y %H:%M", "29.1.2012 23:24"),
        ("%m/%d/%Y %I:%M %p", "01/29/2012 11:24 PM"),
        ("%b %d %Y %H:%M", "Jan 29 2012 23:24"),
        ("%Y-%m-%dT%H:%M:%S%z", "2012-01-30T00:24:00+0100"),
        ("iso", "2012-01-29T23:24:00Z"),
        ("iso", "2012-01-30 00:24+01:00"),
        ("epoch_s", "1327879440"),
        ("epoch_ms", "1327879440000"),
    ],
)
def test_every_way_of_writing_an_instant_gives_the_same_one(format_: str, text: str):
    assert read(TIMESTAMP, text, format=format_) == "2012-01-29T23:24:00.000Z"


def test_a_fraction_is_cut_to_milliseconds():
    assert read(TIMESTAMP, "12:00:00.9999999", format="%H:%M:%S.%f").endswith("12:00:00.999Z")


@pytest.mark.parametrize(
    "text", ["2012/02/30 10:00:00.0", "2012/13/01 10:00:00.0", "2012-01-01", "", "1/1/2012"]
)
def test_what_is_no_date_of_the_format_is_refused(text: str):
    assert "date" in refusal(TIMESTAMP, text, format=LOG, nulls=())


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("0001-01-01T00:00:00+14:00", {"format": "iso"}),
        ("9999-12-31T23:59:59-14:00", {"format": "iso"}),
        ("0001-01-01 +2359", {"format": "%Y-%m-%d %z"}),
        ("0001-01-01", {"format": "%Y-%m-%d", "zone": ZoneInfo("Asia/Tokyo")}),
        ("9999-12-31 23", {"format": "%Y-%m-%d %H", "zone": ZoneInfo("Pacific/Honolulu")}),
    ],
)
def test_an_instant_that_no_calendar_has_in_utc_is_refused_and_stops_no_import(text, reading):
    assert "year" in refusal(TIMESTAMP, text, **reading)


@pytest.mark.parametrize("form", ["epoch_s", "epoch_ms"])
@pytest.mark.parametrize("text", ["1" * 200, f"1.{'1' * 200}"])
def test_a_number_of_two_hundred_digits_is_no_instant_and_stops_no_import(text, form):
    assert "digits" in refusal(TIMESTAMP, text, format=form)


def test_a_local_time_is_brought_to_utc_by_its_zone():
    zone = ZoneInfo("Asia/Jerusalem")
    found = read(TIMESTAMP, "2012/01/29 23:24:00.000", format=LOG, zone=zone)
    assert found == "2012-01-29T21:24:00.000Z"


def test_a_local_time_that_the_clocks_left_out_is_refused():
    zone = ZoneInfo("Asia/Jerusalem")
    why = refusal(TIMESTAMP, "2012/03/30 02:30:00.000", format=LOG, zone=zone)
    assert why == "the clocks of Asia/Jerusalem left this time out"


@pytest.mark.parametrize(
    ("ambiguous", "expected"), [("earlier", "00:30:00.000Z"), ("later", "01:30:00.000Z")]
)
def test_a_local_time_shown_twice_means_what_the_map_says(ambiguous: str, expected: str):
    zone = ZoneInfo("Europe/Budapest")
    found = read(TIMESTAMP, "2012/10/28 02:30:00.000", format=LOG, zone=zone, ambiguous=ambiguous)
    assert found == f"2012-10-28T{expected}"


def test_a_local_time_shown_twice_is_refused_where_the_map_says_nothing():
    zone = ZoneInfo("Europe/Budapest")
    why = refusal(TIMESTAMP, "2012/10/28 02:30:00.000", format=LOG, zone=zone)
    assert "twice" in why
    assert "ambiguous" in why


def test_a_date_column_takes_the_local_day_of_an_instant():
    assert read(DATE, "2012/01/29 23:24:00.000", format=LOG) == "2012-01-29"


@given(
    st.datetimes(datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2100-01-01")),
    st.sampled_from([LOG, "%d.%m.%Y %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y%m%d%H%M%S"]),
)
def test_reading_by_digits_agrees_with_strptime(moment: datetime, format_: str):
    text = moment.strftime(format_)
    expected = datetime.strptime(text, format_).replace(tzinfo=UTC)
    assert datetime.fromisoformat(read(TIMESTAMP, text, format=format_)) == expected.replace(
        microsecond=expected.microsecond // 1000 * 1000
    )


@given(
    st.datetimes(datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2030-01-01")).map(
        lambda moment: moment.replace(microsecond=0)
    ),
    st.sampled_from(["Asia/Jerusalem", "Europe/Budapest", "America/New_York", "Asia/Kolkata"]),
)
def test_a_local_time_that_is_taken_shows_the_same_on_the_clocks(moment: datetime, name: str):
    zone = ZoneInfo(name)
    try:
        found = read(TIMESTAMP, moment.isoformat(), format="iso", zone=zone)
    except InvalidValue:
        first, second = (moment.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
        assert first != second
    else:
        shown = datetime.fromisoformat(found).astimezone(zone)
        assert shown.replace(tzinfo=None) == moment


# --- numbers and durations ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reading", "expected"),
    [
        ("12.50", {}, "12.5"),
        ("+7", {}, "7"),
        (" 3 ", {}, "3"),
        ("1.234,5", {"decimal_point": ",", "thousands": "."}, "1234.5"),
        ("1 234 567.25", {"thousands": " "}, "1234567.25"),
        ("-1,234.5", {"thousands": ","}, "-1234.5"),
        ("2.5", {"times": Decimal(60)}, "150"),
        ("0,001", {"decimal_point": ","}, "0.001"),
    ],
)
def test_a_number_is_read_exactly(text: str, reading: dict[str, Any], expected: str):
    assert read(DECIMAL, text, **reading) == expected


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("1.5", {"decimal_point": ","}),
        ("1.5", {"decimal_point": ",", "thousands": "."}),
        ("1.23,4", {"decimal_point": ",", "thousands": "."}),
        ("12,34", {"thousands": ","}),
        ("1,2345", {"thousands": ","}),
        ("twelve", {}),
        ("1e999", {}),
        ("NaN", {}),
        ("1.2345678", {}),
        ("9" * 13, {}),
        ("٣", {}),
        ("x", {"times": Decimal(2)}),
    ],
)
def test_a_number_that_could_mean_something_else_is_refused(text: str, reading: dict[str, Any]):
    assert refusal(DECIMAL, text, **reading)


@pytest.mark.parametrize("column", [INTEGER, DECIMAL])
@pytest.mark.parametrize("text", ["1" * 200, f"1.{'1' * 200}"])
def test_a_number_of_two_hundred_digits_is_not_multiplied_and_stops_no_import(column, text):
    assert "digits" in refusal(column, text, times=Decimal(3))


@pytest.mark.parametrize(
    ("text", "form", "unit", "expected"),
    [
        ("006:19", "H:MM", "s", "22740"),
        ("000:00", "H:MM", "s", "0"),
        ("117:30", "H:MM", "min", "7050"),
        ("1:02:03", "H:MM:SS", "s", "3723"),
        ("90:30", "M:SS", "s", "5430"),
        ("1:30", "H:MM", "h", "1.5"),
    ],
)
def test_a_duration_becomes_a_number_of_its_unit(text: str, form: str, unit: str, expected: str):
    assert read(DECIMAL, text, duration=form, unit=unit) == expected


@pytest.mark.parametrize("text", ["6:60", "6", "-1:00", "1:2:3", "1899/12/31 01:49:00", "1:5"])
def test_what_is_no_duration_is_refused(text: str):
    assert refusal(DECIMAL, text, duration="H:MM")


def test_a_duration_that_a_spreadsheet_made_a_date_of_is_read_as_duration():
    found = read(DECIMAL, "1899/12/31 01:49:00", duration="H:MM", spreadsheet_dates=True)
    assert found == str((24 * 60 + 109) * 60)


@pytest.mark.parametrize("text", ["2012/01/29 23:24:00", "1899/12/29 00:00:00", "1900/02/30 1:00"])
def test_a_real_date_is_no_duration(text: str):
    assert refusal(DECIMAL, text, duration="H:MM", spreadsheet_dates=True)


@given(st.integers(0, 365 * 24 * 60))
def test_both_writings_of_a_duration_mean_the_same(minutes: int):
    as_date = datetime(1899, 12, 30, tzinfo=UTC) + timedelta(minutes=minutes)
    reading = {"duration": "H:MM", "spreadsheet_dates": True}
    plain = read(DECIMAL, f"{minutes // 60:03d}:{minutes % 60:02d}", **reading)
    assert plain == read(DECIMAL, f"{as_date:%Y/%m/%d %H:%M:%S}", **reading)


# --- codes, nulls, defaults ----------------------------------------------------------------------


def test_a_code_means_what_the_map_says():
    codes = {"D": "A", "": "B"}
    assert [read(CODE, text, codes=codes) for text in ("D", "", " D ")] == ["A", "B", "A"]


def test_a_text_without_a_meaning_is_refused_and_the_known_ones_are_named():
    assert "'D'" in refusal(CODE, "X", codes={"D": "A"})


def test_other_texts_have_the_other_meaning_but_empty_ones_stay_empty():
    reading = {"codes": {"000:00": False}, "other": True}
    assert [read(FLAG, text, **reading) for text in ("000:00", "1:30", "")] == [0, 1, None]


def test_the_first_pattern_that_is_found_counts():
    patterns = ((re.compile("Quality"), "QC"), (re.compile("Grind|Quality"), "GRIND"))
    assert read(TEXT, "Quality Check 1", patterns=patterns) == "QC"
    assert read(TEXT, "Grinding", patterns=patterns) == "GRIND"
    assert refusal(TEXT, "Oven", patterns=patterns)


def test_the_map_names_the_texts_that_mean_nothing():
    assert read(INTEGER, "n/a", nulls=("n/a", "-")) is None
    assert refusal(INTEGER, "", nulls=("n/a",))


@pytest.mark.parametrize(
    ("column", "text"), [(TEXT, "x" * 11), (TEXT, "a\x00b"), (CODE, "C"), (INTEGER, "1.5")]
)
def test_what_the_catalogue_does_not_allow_is_refused(column: Column, text: str):
    assert refusal(column, text)


def test_null_becomes_the_default_of_a_column_that_takes_none():
    column = Column("n", ColumnType(Kind.INTEGER), nullable=False, default=7)
    assert fitting(column, None) == 7
    assert fitting(INTEGER, None) is None
    with pytest.raises(InvalidValue):
        fitting(FLAG, None)


@given(st.text(max_size=20), st.sampled_from([TIMESTAMP, DATE, DECIMAL, INTEGER, FLAG, CODE]))
def test_any_text_is_read_or_refused_and_what_is_read_may_be_stored(text: str, column: Column):
    try:
        value = read(column, text, format="iso")
    except InvalidValue:
        return
    assert value is None or fitting(column, value) == value
