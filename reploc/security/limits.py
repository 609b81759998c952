"""How much one identity or address may ask, and how often it may offend: token buckets and a memory of offences.

Nothing here knows a clock: `now` is seconds of any clock that does not go back. What is remembered is bounded, and who
was not seen for longest is forgotten first, so that a flood of addresses takes no memory.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

#: Identities or addresses that are remembered.
KEYS_MAX = 100_000
#: Bits of an IPv6 address that tell networks apart: whoever has one address has all 2⁶⁴ of its network.
V6_BITS = 64


class Buckets:
    """A bucket of `rate` · `burst_s` requests for each key, which fills by `rate` a second."""

    def __init__(self, rate: float, burst_s: float) -> None:
        """A rate of 0 bounds nothing."""
        self._rate = rate
        self._size = max(rate * burst_s, 1.0)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def bounding(self) -> bool:
        return self._rate > 0

    def take(self, key: str, now: float) -> float:
        """Takes one request out: 0.0, or the seconds until there is one again."""
        if not self.bounding:
            return 0.0
        left = self._filled(key, now)
        wait = self._wait(left)
        self._left[key] = (left - 1.0 if wait == 0.0 else left, now)
        self._left.move_to_end(key)
        if len(self._left) > KEYS_MAX:
            self._left.popitem(last=False)
        return wait

    def wait(self, key: str, now: float) -> float:
        """What `take` would say; nothing is taken."""
        return self._wait(self._filled(key, now)) if self.bounding else 0.0

    def _filled(self, key: str, now: float) -> float:
        left, seen = self._left.get(key, (self._size, now))
        return min(left + (now - seen) * self._rate, self._size)

    def _wait(self, left: float) -> float:
        return 0.0 if left >= 1.0 else (1.0 - left) / self._rate


class Offences:
    """Who offended how often, and until when they are refused."""

    def __init__(self, count_max: int, within_s: float, refused_s: float) -> None:
        self._count_max = count_max
        self._within_s = within_s
        self._refused_s = refused_s
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()
        self._refused: OrderedDict[str, float] = OrderedDict()

    def note(self, key: str, now: float) -> bool:
        """One offence more; whether it is the one after which the key is refused."""
        moments = self._seen.setdefault(key, deque(maxlen=self._count_max))
        moments.append(now)
        self._seen.move_to_end(key)
        if len(self._seen) > KEYS_MAX:
            self._seen.popitem(last=False)
        if len(moments) < self._count_max or moments[0] < now - self._within_s:
            return False
        del self._seen[key]
        self.refuse(key, now, self._refused_s)
        return True

    def refuse(self, key: str, now: float, seconds: float) -> None:
        """Refuses a key for so long, whatever is known of it."""
        self._refused[key] = now + seconds
        self._refused.move_to_end(key)
        if len(self._refused) > KEYS_MAX:
            self._refused.popitem(last=False)

    def refused_s(self, key: str, now: float) -> float:
        """Seconds for which the key is still refused; 0.0 where it is not."""
        until = self._refused.get(key)
        if until is None:
            return 0.0
        if until <= now:
            del self._refused[key]
            return 0.0
        return until - now

    def refused(self, now: float) -> dict[str, float]:
        """The keys that are refused, and for how many seconds still."""
        self._refused = OrderedDict((key, until) for key, until in self._refused.items() if until > now)
        return {key: until - now for key, until in self._refused.items()}


@lru_cache(maxsize=65_536)
def network_of(address: str) -> str:
    """What an address is counted as: itself, or its network where it is one of IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((found, V6_BITS), strict=False))


class Networks:
    """Some networks, to be asked whether an address is in one of them."""

    def __init__(self, networks: list[str]) -> None:
        """Raises ValueError: one is none."""
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(one) for one in networks]

    def hold(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)
