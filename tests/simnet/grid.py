"""A simulated grid: catalogs, index nodes, a network and faults from one seed, and what must hold in the end."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np

from reploc.members import IndexSettings, Node
from simnet.clock import Clock
from simnet.network import CALM, Faults, Network
from simnet.node import IndexNode
from simnet.site import NOTICE_S_MAX, Site, Store

RENEWAL_S = 1.0
EXPIRY_S = 3.0
FULL_S = 4.0
REBUILD_S = 0.7
#: A full update that never comes, so that nothing is repaired by it.
NEVER_S = 1e6
#: The promise: after the last fault, two renewal intervals and one full update.
CONVERGED_S = 2 * RENEWAL_S + FULL_S
STEP_S = 0.25
#: A network of the worst kind, and one on which most slots still need not go whole.
ROUGH = Faults(lost=0.2, doubled=0.2, spoiled=0.1, delay_max_s=1.5)
BAD = Faults(lost=0.05, doubled=0.3, spoiled=0.05, delay_max_s=0.3)
#: A site that has been up for so long has spoken, or tried to speak, to every node.
SPOKEN_S = 2.0


def settings(nodes: int, redundancy: int, slots: int, full_s: float) -> IndexSettings:
    """An index whose intervals are short, and whose filters are small enough to change their class."""
    return IndexSettings(
        slots=slots,
        redundancy=redundancy,
        error_rate=1e-3,
        increment_interval_s=0.2,
        increment_changes=20,
        rebuild_interval_s=REBUILD_S,
        renewal_interval_s=RENEWAL_S,
        full_interval_s=full_s,
        expiry_s=EXPIRY_S,
        forget_after_s=1000.0,
        nodes=[Node(name=f"rli{number}", url=f"http://rli{number}:1") for number in range(nodes)],
    )


class Grid:
    """Everything that a seed decides is drawn from `rng`."""

    def __init__(
        self, seed: int, faults: Faults = CALM, full_s: float = FULL_S, kinds: Sequence[str] = ("bloom",)
    ) -> None:
        """`kinds` are those of which each process of a site tells one."""
        self.rng = Random(seed)
        redundancy = self.rng.randint(1, 3)
        self.index = settings(self.rng.randint(redundancy, 4), redundancy, self.rng.choice([4, 8]), full_s)
        self.clock = Clock()
        #: How long a message may be on its way.
        self.way_s = max(faults.delay_max_s, CALM.delay_max_s)
        self.network = Network(self.clock, self.rng, faults)
        self.nodes: dict[str, IndexNode] = {}
        for node in self.index.nodes:
            self.nodes[node.name] = IndexNode(node.name, self.index, self.network, self.nodes)
        self.sites: dict[str, Site] = {}
        for number in range(self.rng.randint(2, 4)):
            name = f"site{number}"
            self.sites[name] = Site(name, self.index, self.network, dict(self.nodes), f"sender-{number}", kinds)
        self._backups: dict[str, list[Store]] = {name: [] for name in self.sites}

    def start(self) -> None:
        for node in self.nodes.values():
            node.start()
        for site in self.sites.values():
            self.write(site, self.rng.choice([10, 60, 300, 900]))
            site.start()

    def write(self, site: Site, names: int) -> None:
        """Commits some additions and deletions; names are shared between sites, as replicas are."""
        added = {f"lfn{self.rng.randrange(2000)}" for _ in range(names)}
        share = self.rng.choice([0.0, 0.002, 0.05])
        removed = {name for name in sorted(site.store.names) if self.rng.random() < share}
        site.write(added, removed - added)

    def write_somewhere(self) -> None:
        names = 80 if self.rng.random() < 0.05 else self.rng.randint(0, 4)
        self.write(self.rng.choice(list(self.sites.values())), names)

    def rough_times(self, disturbances: int) -> None:
        """Writes all the while, and a disturbance now and then; at the end all is mended."""
        self.start()
        for _ in range(disturbances):
            for _ in range(self.rng.randint(1, 3)):
                self.write_somewhere()
                self.run_for(STEP_S)
            self.disturb()
        self.mend()

    # ---- faults --------------------------------------------------------------------------------------------------

    def disturb(self) -> None:
        """One fault that is not the network's everyday: a crash, a restart, a restored backup, a cut."""
        site = self.rng.choice(list(self.sites.values()))
        node = self.rng.choice(list(self.nodes.values()))
        self.network.made += 1
        match self.rng.randrange(8):
            case 0:
                site.start()
            case 1:
                site.stop()
            case 2:
                node.start()
            case 3:
                node.stop()
            case 4:
                self._backups[site.name].append(site.store)
            case 5 if self._backups[site.name]:
                site.restore(self.rng.choice(self._backups[site.name]))
                site.start()
            case 6:
                self.cut_some_ways()
            case _:
                self.network.cut((site.party, node.name))
                self.network.cut((node.name, site.party))

    def cut_some_ways(self) -> None:
        """What one camp of the parties says does not reach the other, and mostly the other way round too."""
        parties = [*(site.party for site in self.sites.values()), *self.nodes]
        here = {party for party in parties if self.rng.random() < 0.3}
        both = self.rng.random() < 0.7
        for one in sorted(here):
            for other in parties:
                if other not in here:
                    self.network.cut((one, other))
                    if both:
                        self.network.cut((other, one))

    def mend(self) -> None:
        """The last fault is over: everything runs and reaches everything."""
        self.network.heal()
        for party in [*self.nodes.values(), *self.sites.values()]:
            if not party.up:
                party.start()

    def run_for(self, seconds: float) -> None:
        """Lets time pass, checking the invariants on the way."""
        for _ in range(round(seconds / STEP_S)):
            self.clock.run_for(STEP_S)
            self.check()

    # ---- what must hold ------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What must hold at every moment."""
        history = {name: site.history for name, site in self.sites.items()}
        for node in self.nodes.values():
            if node.up:
                node.check(history)
                for site in self.sites.values():
                    self._check_age(node, site)

    def _check_age(self, node: IndexNode, site: Site) -> None:
        """What a node calls applied holds every commit that is older than the age it tells, but for the way to it."""
        number = node.registry.number(site.name)
        if number is None or not (applied := node.registry.applied_position(site.name)):
            return
        age = float(node.registry.ages(np.array([number]), self.clock.now)[0])
        known_by = self.clock.now - age - self.way_s - NOTICE_S_MAX
        late = [position for position, moment in site.commits if moment < known_by and position > applied]
        assert not late, f"{node.name} says that its news of {site.name} is {age} s old, but it lacks {late}"

    def check_nothing_is_hidden(self) -> None:
        """Where no message is lost: a node that calls a slot complete holds it from every site that is up."""
        for node in self.nodes.values():
            complete = node.owned[node.registry.complete(node.owned)].tolist() if node.up else []
            for site in self.sites.values():
                if complete and site.up and self.clock.now - site.started_at >= SPOKEN_S:
                    number = node.registry.number(site.name)
                    lacking = [slot for slot in complete if (number, slot) not in node.served]
                    assert not lacking, f"{node.name} calls {lacking} complete without {site.name}"

    def check_converged(self) -> None:
        """Every owner of a slot is complete in it, and holds exactly the summary of what each catalog holds."""
        for node in self.nodes.values():
            assert node.registry.complete(node.owned).all(), f"{node.name} is not complete"
            assert node.registry.missing_sites(node.owned) == []
            for site in self.sites.values():
                self._check_agreed(node, site)
            assert len(node.served) == len(node.owned) * len(self.sites), f"{node.name} serves more than it owns"

    def _check_agreed(self, node: IndexNode, site: Site) -> None:
        number = node.registry.number(site.name)
        assert number is not None
        for slot in node.owned.tolist():
            assert node.served[number, slot] == site.truth(slot), f"{node.name} {site.name} {slot}"
        if len(node.owned):
            assert node.registry.applied_position(site.name) == site.store.position
            age = float(node.registry.ages(np.array([number]), self.clock.now)[0])
            assert age <= RENEWAL_S + 1, f"{node.name} thinks that its news of {site.name} is {age} s old"
            progress = {one.node: one for one in site.sender.progress(self.clock.now)}[node.name]
            assert (progress.state, progress.applied_position) == ("current", site.store.position), progress
