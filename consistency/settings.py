"""What the checker is told: the sites, how they are listed, what protects a path, the limits, and what it may do."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field
from msgspec.structs import replace

from consistency.dumped import DumpSettings
from consistency.limits import Limits
from consistency.listing import ListingSettings
from consistency.verdict import Confirmation
from reploc.config import Settings
from reploc.errors import ConfigInvalid
from reploc.names import require_url
from reploc.sites import Site, by_name

#: Sites of one checker.
SITES_MAX = 100_000
#: Path prefixes that are left out: a list longer than this is a policy, not a setting.
EXCLUDED_MAX = 10_000


class ActionSettings(Settings, frozen=True):
    """What the checker may do about confirmed findings; nothing unless asked."""

    missing: Annotated[bool, Meta(description="Order new copies of missing and damaged files, and unregister.")] = False
    orphans: Annotated[bool, Meta(description="Move orphans to the trash, and delete them after trash_s.")] = False
    empty_directories: Annotated[bool, Meta(description="Remove old empty directories.")] = False
    trash: Annotated[str, Meta(description="Where orphans are moved to; left out of every check.")] = "/.reploc-trash"
    trash_s: Annotated[float, Meta(description="Orphans stay in the trash for so long.", ge=0)] = 1_209_600.0
    empty_age_s: Annotated[float, Meta(description="Empty directories younger than this stay.", ge=0)] = 604_800.0

    def __post_init__(self) -> None:
        if not self.trash.startswith("/") or self.trash.strip("/") == "":
            raise ValueError(f"trash is {self.trash!r}; expected an absolute path below the root of the storage")


class DeepSettings(Settings, frozen=True):
    """How much of a site is read again at a time."""

    files: Annotated[int, Meta(description="Files of one call, at most.", ge=1)] = 10_000
    bytes_per_s: Annotated[float, Meta(description="Bytes read in a second, at most.", gt=0)] = 50e6


class ConsistencySettings(Settings, frozen=True):
    """The consistency checker: it compares catalogs with storage and mends the difference.

    Every setting stands here with its default. Sites are tables [[sites]] with [[sites.doors]] and [[sites.rules]],
    dumps in place of listings tables [[dumps]].
    """

    state: Annotated[str, Meta(description="The directory of journals and of lists under way.")] = (
        "/var/lib/reploc/consistency"
    )
    database: Annotated[
        str, Meta(description="Runs, findings and lost files: sqlite:///PATH or postgresql+psycopg://…")
    ] = "sqlite:////var/lib/reploc/consistency.db"
    fileops: Annotated[
        str, Meta(description="File operations that are asked for new copies, http://HOST:PORT; empty: none.")
    ] = ""
    placement: Annotated[
        str, Meta(description="Placement, which knows what datasets are open, http://HOST:PORT; empty: none.")
    ] = ""
    open_grace_s: Annotated[
        float, Meta(description="Files of open datasets updated more recently than this are not judged.", ge=0)
    ] = 604_800.0
    index: Annotated[
        list[str], Meta(description="Index nodes that know other copies, http://HOST:PORT each.", max_length=1_000)
    ] = []
    roots: Annotated[
        list[str], Meta(description="The trees that are checked, below the root of the storage.", max_length=1_000)
    ] = field(default_factory=lambda: ["/"])
    excluded: Annotated[
        list[str],
        Meta(description="Path prefixes that are left out; they end where a name ends.", max_length=EXCLUDED_MAX),
    ] = []
    grace_age_s: Annotated[float, Meta(description="Younger files are not judged.", ge=0)] = 86_400.0
    clock_skew_s: Annotated[float, Meta(description="Clocks of site and catalog may differ by so much.", ge=0)] = 60.0
    listing: ListingSettings = field(default_factory=ListingSettings)
    confirmation: Confirmation = field(default_factory=Confirmation)
    limits: Limits = field(default_factory=Limits)
    actions: ActionSettings = field(default_factory=ActionSettings)
    deep: DeepSettings = field(default_factory=DeepSettings)
    sites: Annotated[
        list[Site], Meta(description="The sites that are checked, a table each.", max_length=SITES_MAX)
    ] = []

    dumps: Annotated[
        list[DumpSettings],
        Meta(
            description="Dumps that sites make of their storage, a table each: no listing is needed.",
            max_length=SITES_MAX,
        ),
    ] = []

    def __post_init__(self) -> None:
        try:
            sites = by_name(self.sites)
        except ConfigInvalid as wrong:
            raise ValueError(wrong.detail) from wrong
        dumped: set[str] = set()
        for each in self.dumps:
            if each.site not in sites or each.site in dumped:
                raise ValueError(f"dumps names {each.site!r}; expected each site of [[sites]] once at the most")
            dumped.add(each.site)
        for url in (*self.index, *filter(None, (self.fileops, self.placement))):
            require_url(url)
        for what, paths in (("roots", self.roots), ("excluded", self.excluded)):
            if strange := next((path for path in paths if not path.startswith("/")), None):
                raise ValueError(f"{what} holds {strange!r}; expected absolute paths below the root of the storage")

    def dump(self, name: str) -> DumpSettings | None:
        """The dump that a site makes, if it makes one."""
        return next((each for each in self.dumps if each.site == name), None)

    def with_dump(self, name: str, file: str) -> ConsistencySettings:
        """The same with a site's dump in another file. Raises ConfigInvalid: there is no such site."""
        told = replace(self.dump(name) or DumpSettings(site=self.site(name).name, file=file), file=file)
        return replace(self, dumps=[told, *(each for each in self.dumps if each.site != name)])

    def site(self, name: str) -> Site:
        """A site by its name. Raises ConfigInvalid: there is none."""
        found = by_name(self.sites).get(name)
        if found is None:
            known = ", ".join(sorted(by_name(self.sites))) or "none"
            raise ConfigInvalid(f"site {name!r} is not in the settings; known: {known}")
        return found
