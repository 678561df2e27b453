"""Thresholds as exact decimals, so that a range neither misses nor repeats 0.69.

    steps('0.60', '0.70', '0.01')       # 11 Decimals, both ends included
"""

from decimal import Decimal, InvalidOperation


def decimal(text: str | Decimal) -> Decimal:
    """Parse a number exactly as it is written; ValueError for anything else."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal('nan')
    if not value.is_finite():
        raise ValueError(f'{text!r} is not a number')
    return value


def steps(low: str | Decimal, high: str | Decimal, step: str | Decimal) -> list[Decimal]:
    """List the thresholds from `low` to `high`, both included.

    Raises
    ------
    ValueError
        The range is not a whole number of steps.
    """
    low, high, step = map(decimal, (low, high, step))
    if step <= 0:
        raise ValueError(f'thresholds from {low} to {high} by {step}: the step must be above 0')
    if low > high or (high - low) % step:
        raise ValueError(f'no whole number of steps of {step} leads from {low} to {high}')
    return [low + step * k for k in range(int((high - low) / step) + 1)]
