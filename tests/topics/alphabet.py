"""Every pattern and every topic over small alphabets, to prove by enumeration.

The topics have one letter that no pattern names, standing for all other names, and one segment
more than the longest pattern, standing for all greater lengths. What holds for all of these holds
for any topic: matching only asks whether two segments are equal and how many there are.
"""

from itertools import product

PATTERN_SEGMENTS = 4
TOPIC_SEGMENTS = PATTERN_SEGMENTS + 1

TOPICS = [
    ".".join((first, *rest))
    for length in range(TOPIC_SEGMENTS)
    for first in ("a", "b", "c", "$sys")
    for rest in product("abc", repeat=length)
]
PATTERNS = ["**"] + [
    ".".join((first, *middle, *last))
    for length in range(PATTERN_SEGMENTS)
    for first in ("a", "b", "*", "$sys")
    for middle in product("ab*", repeat=max(0, length - 1))
    for last in (product(("a", "b", "*", "**")) if length else [()])
]
