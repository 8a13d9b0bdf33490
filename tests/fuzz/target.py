"""What is fuzzed: something that takes input from outside, and the inputs it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seeds of one run that share no example.
_PHASES: Final = (Phase.explicit, Phase.generate, Phase.shrink)


@dataclass(frozen=True, slots=True)
class Target:
    """One door, and what may come in by it."""

    name: str
    #: Raises where an input does what none may do.
    check: Callable[[Any], None]
    inputs: st.SearchStrategy[Any]
    #: Inputs of the short run; what takes about a second.
    examples: int = 200

    def run(self, number: int, examples: int | None = None) -> None:
        """Give it inputs that follow from the number; raises with the smallest that fails."""

        @seed(number)
        @settings(
            max_examples=examples or self.examples,
            deadline=None,
            database=None,
            print_blob=False,
            phases=_PHASES,
            suppress_health_check=list(HealthCheck),
        )
        @given(self.inputs)
        def attempt(given_one: Any) -> None:
            self.check(given_one)

        attempt()


def mutations(valid: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return valid inputs with bytes flipped, cut out, put in, doubled, or spliced with another."""

    @st.composite
    def mutated(draw: Any) -> bytes:
        data = bytearray(draw(valid))
        for _ in range(draw(st.integers(0, 4))):
            _mutate(draw, data, valid)
        return bytes(data)

    return mutated()


def _mutate(draw: Any, data: bytearray, valid: st.SearchStrategy[bytes]) -> None:
    at = draw(st.integers(0, len(data)))
    end = min(len(data), at + draw(st.integers(0, 40)))
    match draw(st.sampled_from(["flip", "cut", "put", "double", "splice", "end", "number"])):
        case "flip" if at < len(data):
            data[at] ^= draw(st.integers(1, 255))
        case "cut":
            del data[at:end]
        case "put":
            data[at:at] = draw(st.binary(min_size=1, max_size=12))
        case "double":
            data[at:at] = data[at:end] * draw(st.sampled_from([1, 2, 50]))
        case "splice":
            other = draw(valid)
            data[at:] = other[min(at, len(other)) :]
        case "end":
            del data[at:]
        case "number":  # lengths and counts are where decoders are caught
            data[at:end] = draw(st.sampled_from(_NUMBERS))
        case _:
            pass


_NUMBERS: Final = (
    b"\x00", b"\xff", b"\x7f", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xdd\x00\xff\xff\xff",
    b"\xdf\x00\xff\xff\xff", b"\xc6\x7f\xff\xff\xff", b"\xcf" + b"\xff" * 8,
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"999999999999999999999", b"-1", b"1e999999999", b"NaN", b"0x", b"\xef\xbb\xbf", b"\r", b"\n",
    b"\x00\x00", b"\"", b"''", b"[[", b"]]", b"\xc3\x28", b"\xed\xa0\x80",
)  # fmt: skip
