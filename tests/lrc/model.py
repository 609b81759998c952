"""A catalog that is a plain dictionary: the catalog's rules, written a second time, slowly."""

from copy import deepcopy
from dataclasses import dataclass, field

from reploc.names import checksum_fault, fault
from reploc.wire import DeleteBody, DeleteItem, MappingItem, MappingsBody, RenameBody, RenameItem

#: (index, code) of each item that failed.
Errors = list[tuple[int, str]]


@dataclass
class File:
    size: int | None
    checksum: str | None
    collection: str | None
    pfns: list[str] = field(default_factory=list)


class Model:
    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.position = 0

    def write(self, *bodies: MappingsBody | DeleteBody | RenameBody) -> list[tuple[int, Errors]]:
        """(done, errors) of each body; one commit."""
        before = deepcopy(self.files)
        outcomes = [self._apply(body) for body in bodies]
        self.position += self.files != before
        return outcomes

    def _apply(self, body: MappingsBody | DeleteBody | RenameBody) -> tuple[int, Errors]:
        before = deepcopy(self.files)
        items = body.names if isinstance(body, RenameBody) else body.mappings
        errors = [(index, code) for index, item in enumerate(items) if (code := self._item(body, item))]
        if errors and body.atomic:
            self.files = before
            return 0, errors
        return len(items) - len(errors), errors

    def _item(self, body: object, item: MappingItem | DeleteItem | RenameItem) -> str:
        if isinstance(item, MappingItem):
            assert isinstance(body, MappingsBody)
            return self._register(item, body.mode, body.update)
        if isinstance(item, DeleteItem):
            return self._delete(item)
        assert isinstance(body, RenameBody)
        if fault(item.old) or fault(item.new):
            return "name-invalid"
        return self._rename_lfn(item) if body.what == "lfn" else self._rename_pfn(item)

    def _register(self, item: MappingItem, mode: str, update: bool) -> str:
        checksum = item.checksum.lower() if item.checksum is not None else None
        if fault(item.lfn) or fault(item.pfn) or (item.collection is not None and fault(item.collection)):
            return "name-invalid"
        if checksum is not None and checksum_fault(checksum):
            return "name-invalid"
        file = self.files.get(item.lfn)
        if file is None:
            if mode == "add":
                return "lfn-unknown"
            self.files[item.lfn] = File(item.size, checksum, item.collection, [item.pfn])
            return ""
        if mode == "create":
            return "lfn-exists"
        news = {"size": item.size, "checksum": checksum, "collection": item.collection}
        for name, value in news.items():
            if value is not None and getattr(file, name) not in (None, value) and not update:
                return "attributes-differ"
        for name, value in news.items():
            if value is not None:
                setattr(file, name, value)
        if item.pfn not in file.pfns:
            file.pfns.append(item.pfn)
        return ""

    def _delete(self, item: DeleteItem) -> str:
        if fault(item.lfn) or (item.pfn is not None and fault(item.pfn)):
            return "name-invalid"
        file = self.files.get(item.lfn)
        if file is None:
            return "lfn-unknown"
        if item.pfn is None:
            file.pfns.clear()
        elif item.pfn in file.pfns:
            file.pfns.remove(item.pfn)
        else:
            return "mapping-unknown"
        if not file.pfns:
            del self.files[item.lfn]
        return ""

    def _rename_lfn(self, item: RenameItem) -> str:
        if item.old not in self.files:
            return "lfn-unknown"
        if item.new != item.old and item.new in self.files:
            return "lfn-exists"
        self.files[item.new] = self.files.pop(item.old)
        return ""

    def _rename_pfn(self, item: RenameItem) -> str:
        holders = [file for file in self.files.values() if item.old in file.pfns]
        for file in holders:
            renamed = [item.new if pfn == item.old else pfn for pfn in file.pfns]
            file.pfns = list(dict.fromkeys(renamed))
        return "" if holders else "pfn-unknown"

    # ---- reads -------------------------------------------------------------------------------------------------------

    def lfns_of(self, pfn: str) -> set[str]:
        return {lfn for lfn, file in self.files.items() if pfn in file.pfns}

    def totals(self) -> dict[str, tuple[int, int, int]]:
        """Collection → files, bytes, files of unknown size."""
        found: dict[str, tuple[int, int, int]] = {}
        for file in self.files.values():
            if file.collection is not None:
                files, size, unknown = found.get(file.collection, (0, 0, 0))
                found[file.collection] = (files + 1, size + (file.size or 0), unknown + (file.size is None))
        return found
