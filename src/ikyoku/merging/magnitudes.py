"""Which magnitude is the k-th largest, by counting: no sort of a whole tensor, and no rounding.

Magnitudes are compared as the bit patterns of float32: for numbers without a sign the pattern, read as an integer,
has the same order. A first pass counts the upper 12 bits (4,096 counters: exponent and four bits more), which tells the
bucket that holds the k-th largest; a second one looks at the lower 19 bits in that bucket alone, a few hundredths of
all, and finds it exactly. Both passes may go over many tensors in pieces, so that a whole model needs no more memory
than one of its tensors.

A NaN counts as larger than infinity. Readers refuse both before they come here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CHUNK = 1 << 17
"""Elements in a piece: few enough that the pieces of a few parents stay near a core, and enough that calls cost little.
One thread per piece is best (torch.set_num_threads(1)): on busy cores, waiting for a second one took longer."""

_LOWER = 19  # bits of the second pass
_FEW = 1 << 20  # so many elements of the bucket are kept as they are; of more, the patterns are counted
_WORTH_COUNTING = 1 << 22  # elements from which counting is faster than sorting
_LARGEST = 0x7FFFFFFF


def kept(density: float, n: int) -> int:
    """Returns how many of `n` elements a density keeps: the nearest whole number, halves to the even one.

    Raises:
        ValueError: the density is not in [0, 1].

    >>> kept(0.3, 10), kept(0.5, 5), kept(0.0, 7)
    (3, 2, 0)
    """
    if not 0 <= density <= 1:
        raise ValueError(f"density is {density}: it must be between 0 and 1")
    return round(density * n)


def rank_kept(density: float, n: int) -> int:
    """Returns the rank of the smallest magnitude that is kept: `kept`, and n + 1 (no bound) where all are.

    >>> rank_kept(0.3, 10), rank_kept(1.0, 10)
    (3, 11)
    """
    rank = kept(density, n)
    return n + 1 if rank >= n else rank


def magnitudes(
    base: torch.Tensor, parent: torch.Tensor, *, size: int = CHUNK, scratch: torch.Tensor | None = None
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yields a task vector's magnitudes piece by piece: the first element's index, and |parent - base| in float32.

    The pieces lie one after the other in the same memory: use each before the next.

    Args:
        base: any shape, float16, bfloat16 or float32.
        parent: of the same number of elements.
        size: elements in a piece.
        scratch: float32 memory for all pieces, as long as the tensor, where they shall be kept.

    >>> import torch
    >>> [(start, piece.tolist()) for start, piece in magnitudes(torch.zeros(3), torch.tensor([1.0, -2, 3]), size=2)]
    [(0, [1.0, 2.0]), (2, [3.0])]
    """
    import torch

    flat, other = parent.reshape(-1), base.reshape(-1)
    size = min(size, flat.numel())
    minuend, subtrahend = (torch.empty(size, dtype=torch.float32, device=flat.device) for _ in range(2))
    for start in range(0, flat.numel(), size or 1):
        stop = min(start + size, flat.numel())
        piece = (minuend[: stop - start] if scratch is None else scratch[start:stop]).copy_(flat[start:stop])
        piece.sub_(subtrahend[: stop - start].copy_(other[start:stop])).abs_()
        yield start, piece


class MagnitudeCounter:
    """Finds the k-th largest magnitude of any number of tensors in two passes over them.

    Add everything once, say what is wanted with `refine`, add everything again, and read `threshold`.

    Attributes:
        n: elements counted in the first pass.

    >>> import torch
    >>> counter, parts = MagnitudeCounter(), (torch.tensor([1.0, -4.0]), torch.tensor([2.0, 3.0, 0.5]))
    >>> for part in parts:
    ...     counter.add(part)
    >>> counter.refine(0.4)
    >>> for part in parts:
    ...     counter.add(part)
    >>> counter.threshold()
    3.0
    """

    def __init__(self) -> None:
        self.n = 0
        self._counts: torch.Tensor | None = None  # of the upper bits, then of the lower ones
        self._few: list[torch.Tensor] = []  # lower bits that are not counted yet
        self._waiting = 0
        self._bucket = -1
        self._rank = 0  # in the bucket, from above
        self._known: float | None = None

    def add(self, values: torch.Tensor) -> None:
        """Counts the magnitudes of a tensor, of any shape and any float format; dropped elements are zeros in it."""
        import torch

        if self._known is not None:
            return
        flat = values.detach().reshape(-1)
        for start in range(0, flat.numel(), CHUNK):
            bits = flat[start : start + CHUNK].float().abs().view(torch.int32)
            upper = bits >> _LOWER
            if self._bucket < 0:
                self.n += bits.numel()
                self._count(upper, 1 << (31 - _LOWER))
                continue
            self._few.append(bits[upper == self._bucket] & ((1 << _LOWER) - 1))
            self._waiting += self._few[-1].numel()
            if self._waiting > _FEW:
                self._count(torch.cat(self._few), 1 << _LOWER)
                self._few, self._waiting = [], 0

    def refine(self, density: float) -> None:
        """Ends the first pass: the second is for the smallest of the round(density * n) largest magnitudes.

        Raises:
            ValueError: the density is not in [0, 1].
        """
        self.refine_rank(rank_kept(density, self.n))

    def refine_rank(self, rank: int) -> None:
        """Ends the first pass: the second is for the rank-th largest magnitude, 1 being the largest.

        Rank 0 means a bound that nothing reaches, infinity; a rank above n one that everything does, zero.
        """
        self._known = float("inf") if rank <= 0 else 0.0 if rank > self.n else None
        if self._known is None and self._counts is not None:
            self._bucket, self._rank = _where(self._counts, rank)
        self._counts = None

    def threshold(self) -> float:
        """Returns the magnitude that was asked for: what is at least as large is kept.

        Raises:
            ValueError: the second pass is missing, or saw other elements than the first.
        """
        import torch

        if self._known is not None:
            return self._known
        few = torch.cat(self._few) if self._few else None
        self._few, self._waiting = [], 0
        if few is not None and self._counts is None and len(few) >= self._rank:
            lower = int(torch.kthvalue(few, len(few) - self._rank + 1).values)
        else:
            if few is not None:
                self._count(few, 1 << _LOWER)
            if self._bucket < 0 or self._counts is None or int(self._counts.sum()) < self._rank:
                raise ValueError("call refine after everything was added once, then add the same everything again")
            lower, _ = _where(self._counts, self._rank)
        self._known = as_float((self._bucket << _LOWER) | lower)
        return self._known

    def _count(self, indices: torch.Tensor, bins: int) -> None:
        import torch

        counts = torch.bincount(indices, minlength=bins)
        self._counts = counts if self._counts is None else self._counts.add_(counts)


class OrderStatistics:
    """The magnitudes of one task vector in order, from which the threshold of any density follows at once.

    Differences of bfloat16 models have few distinct magnitudes (some ten thousand): then it is a table of them with
    counts. Otherwise it holds all of them, sorted.

    Attributes:
        n: elements of the tensor.
        nbytes: bytes held.

    >>> import torch
    >>> statistics = OrderStatistics(torch.tensor([0.5, -3.0, 2.0, 0.0]))
    >>> statistics.threshold(0.5), statistics.largest(1), statistics.at_least(0.5)
    (2.0, 3.0, 3)
    """

    def __init__(self, values: torch.Tensor) -> None:
        self._fill(values.detach().to(dtype=_float32(), copy=True).reshape(-1).abs_())

    @classmethod
    def of(cls, base: torch.Tensor, parent: torch.Tensor) -> OrderStatistics:
        """Returns the statistics of |parent - base| in float32, for tensors of any float format and one shape."""
        import torch

        scratch = torch.empty(parent.numel(), dtype=torch.float32, device=parent.device)
        for _ in magnitudes(base, parent, scratch=scratch):
            pass
        made = cls.__new__(cls)
        made._fill(scratch)
        return made

    def _fill(self, magnitudes: torch.Tensor) -> None:
        """Takes over a flat tensor of magnitudes, and works where it lies."""
        import torch

        bits = magnitudes.view(torch.int32)
        self.n: int = bits.numel()
        self._values, self._below = _table(bits) or (_sorted(bits), None)
        if self._below is None:
            first = torch.ones(self.n, dtype=torch.bool, device=bits.device)
            torch.ne(self._values[1:], self._values[:-1], out=first[1:])
            if 3 * int(first.sum()) < self.n:  # 4 + 8 bytes for each distinct one, against 4 for each element
                self._below = torch.nonzero(first).reshape(-1)
                self._values = self._values[self._below]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(one.numel() * one.element_size() for one in (self._values, self._below) if one is not None)

    def largest(self, rank: int) -> float:
        """Returns the rank-th largest magnitude; infinity for rank 0, zero for a rank above n."""
        import torch

        if rank <= 0:
            return float("inf")
        if rank > self.n:
            return 0.0
        place = self.n - rank
        if self._below is not None:
            place = int(torch.searchsorted(self._below, place, right=True)) - 1
        return as_float(int(self._values[place]))

    def at_least(self, magnitude: float) -> int:
        """Returns how many magnitudes are not smaller than the given one."""
        return self._at_least(_pattern(magnitude))

    def threshold(self, density: float) -> float:
        """Returns the smallest of the round(density * n) largest magnitudes: what is at least as large is kept."""
        return self.largest(rank_kept(density, self.n))

    def _at_least(self, pattern: int) -> int:
        import torch

        wanted = torch.tensor(pattern, dtype=torch.int32, device=self._values.device)
        place = int(torch.searchsorted(self._values, wanted))
        if self._below is not None:
            place = int(self._below[place]) if place < self._below.numel() else self.n
        return self.n - place


def model_largest(statistics: Sequence[OrderStatistics], rank: int) -> float:
    """Returns the rank-th largest magnitude of several tensors together, by bisection on the bit pattern.

    Infinity for rank 0, zero for a rank above the number of elements.

    >>> import torch
    >>> model_largest([OrderStatistics(torch.tensor([1.0, 4.0])), OrderStatistics(torch.tensor([2.0, 3.0]))], 2)
    3.0
    """
    if rank <= 0:
        return float("inf")
    if rank > sum(one.n for one in statistics):
        return 0.0
    low, high = 0, _LARGEST  # at least `rank` are not below low; fewer are not below high + 1
    while low < high:
        middle = (low + high + 1) // 2
        if sum(one._at_least(middle) for one in statistics) >= rank:
            low = middle
        else:
            high = middle - 1
    return as_float(low)


def model_threshold(statistics: Sequence[OrderStatistics], density: float) -> float:
    """Returns the smallest of the round(density * n) largest magnitudes of several tensors with n elements together."""
    return model_largest(statistics, rank_kept(density, sum(one.n for one in statistics)))


def largest(values: torch.Tensor, rank: int) -> float:
    """Returns the rank-th largest magnitude of a tensor; infinity for rank 0, zero for a rank above n.

    >>> import torch
    >>> largest(torch.tensor([1.0, -5.0, 2.0]), 2)
    2.0
    """
    counter = MagnitudeCounter()
    counter.add(values)
    counter.refine_rank(rank)
    counter.add(values)
    return counter.threshold()


def as_float(pattern: int) -> float:
    """Returns the float32 number with a bit pattern.

    >>> as_float(0x3F800000)
    1.0
    """
    import struct

    return float(struct.unpack("<f", struct.pack("<i", pattern))[0])


def _sorted(bits: torch.Tensor) -> torch.Tensor:
    """Sorts where it lies, as far as that can be."""
    import torch

    if bits.device.type != "cpu":
        return torch.sort(bits).values
    bits.numpy().sort()  # several times faster than torch's on the CPU, which keeps the indices too
    return bits


def _table(bits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """Returns the distinct patterns in order and how many elements lie below each, without sorting all; uses them up.

    Only for large tensors of numbers with few significant bits, whose patterns mostly end in a byte of zeros, such as
    differences of bfloat16 numbers: the others are few, and are sorted. None where they are not.
    """
    import torch

    if bits.numel() < _WORTH_COUNTING or int((bits[:: bits.numel() // 4096] & 0xFF != 0).sum()) > 256:
        return None
    others = torch.cat([piece[piece & 0xFF != 0] for piece in bits.split(CHUNK)])
    counts = torch.bincount(bits.bitwise_right_shift_(8), minlength=1 << 23)
    shared, several = torch.unique(others >> 8, return_counts=True)
    counts[shared.long()] -= several
    even = torch.nonzero(counts).reshape(-1)
    odd, several = torch.unique(others, return_counts=True)
    values, order = torch.sort(torch.cat([(even << 8).to(torch.int32), odd]))
    number = torch.cat([counts[even], several])[order]
    return values, torch.cumsum(number, 0).sub_(number)


def _where(counts: torch.Tensor, rank: int) -> tuple[int, int]:
    """Returns the counter that holds the rank-th from above, and its rank in it."""
    import torch

    from_above = torch.cumsum(counts.flip(0), 0)
    place = int(torch.searchsorted(from_above, rank))
    before = int(from_above[place - 1]) if place else 0
    return counts.numel() - 1 - place, rank - before


def _pattern(magnitude: float) -> int:
    import torch

    return int(torch.tensor(abs(magnitude), dtype=torch.float32).view(torch.int32))


def _float32() -> torch.dtype:
    import torch

    return torch.float32
