"""Copies delegated to an FTS3 server, in batches, over its REST interface.

Copies that are asked for together become one job per link. The job's id is computed from the keys of its copies, so
that a submission that is repeated, because its answer was lost, is the same job (409). Jobs are looked at together, and
each copy ends as its file did: reasons that begin with SOURCE are the source's fault, DESTINATION the destination's.
What is cancelled here is cancelled there. Files on tape are brought online by the server, which knows more tapes than
our movers do. Without a token the server gets a proxy of ours to act with, and a new one when it says 419. FTS3 deletes
nothing any more: deletions never come here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fileops import delegation
from fileops.gathered import Gathered
from fileops.messages import Fts3Said
from reploc.storage.faults import StorageFault, of_errno
from reploc.storage.mover import Progress, Transfer
from reploc.storage.web import Web

ENDED = frozenset({"FINISHED", "FAILED", "CANCELED", "NOT_USED"})
#: The fields that are looked at.
FIELDS = "file_id,file_state,dest_surl,reason"
#: Jobs in one look.
JOBS_MAX = 50
#: Looks that may fail one after the other before a copy is given up, and done again from here.
LOOKS_MAX = 20
NEED_DELEGATION = 419
_REASON = re.compile(r"(SOURCE|DESTINATION)\b[^\[]*(?:\[(\d+)\])?")


class _Answer:
    """A status with its document."""

    def __init__(self, status: int, document: Any) -> None:
        self.status = status
        self.document = document


class Fts3:
    """An FTS3 server at `url`: `proxy` is a PEM with certificate and key, `token` a file with a bearer token."""

    protocols = frozenset({"webdav", "xrootd"})

    def __init__(self, url: str, web: Web, *, proxy: str, token: str, files_max: int, poll_s: float) -> None:
        self._url = url.rstrip("/")
        self._web = web
        self._proxy = proxy
        self._token = token
        self._poll_s = poll_s
        self._submissions: Gathered[Transfer, str | StorageFault] = Gathered(self._submit, files_max)
        self._waiting: dict[str, dict[str, asyncio.Future[StorageFault | None]]] = {}
        self._files: dict[tuple[str, str], int] = {}
        self._looking: asyncio.Task[None] | None = None
        self._error = ""
        self._proxy_until_s: float | None = None

    @property
    def standing(self) -> Fts3Said:
        """How it stands."""
        copies = sum(map(len, self._waiting.values()))
        return Fts3Said(self._url, copies, len(self._waiting), self._error, self._proxy_until_s)

    async def copy(self, transfer: Transfer, progress: Progress) -> None:
        """Delegates a copy, and returns when it is done. Cancelled, it is cancelled there."""
        job = await self._submissions.ask(transfer)
        if isinstance(job, StorageFault):
            raise job
        future: asyncio.Future[StorageFault | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job, {})[transfer.target] = future
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            fault = await future
        except asyncio.CancelledError:
            await asyncio.shield(self._cancel(job, transfer.target))
            raise
        if fault is not None:
            raise fault
        if transfer.size is not None:
            progress(transfer.size)

    async def close(self) -> None:
        """Stops looking; jobs go on, and a copy that is begun again replaces what they leave."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        await self._web.close()

    # ---- submitting --------------------------------------------------------------------------------------------------

    async def _submit(self, transfers: list[Transfer]) -> list[str | StorageFault]:
        links: dict[tuple[str, str, float], list[Transfer]] = {}
        for transfer in transfers:
            link = _host(transfer.source), _host(transfer.target), transfer.stage_s
            links.setdefault(link, []).append(transfer)
        jobs: dict[str, str | StorageFault] = {}
        for together in links.values():
            try:
                job: str | StorageFault = await self._submit_job(together)
                self._error = ""
            except StorageFault as fault:
                job = fault
                self._error = fault.said
            jobs |= {transfer.target: job for transfer in together}
        return [jobs[transfer.target] for transfer in transfers]

    async def _submit_job(self, transfers: Sequence[Transfer]) -> str:
        sid = hashlib.sha256("\n".join(sorted(each.key for each in transfers)).encode()).hexdigest()
        body = {
            "files": [_file(each) for each in transfers],
            "params": {
                "overwrite": True,
                "verify_checksum": "none",  # verified by who delegates, at the end where it counts
                "retry": -1,
                "id_generator": "deterministic",
                "sid": sid,
                **({"bring_online": math.ceil(stage_s)} if (stage_s := transfers[0].stage_s) else {}),
            },
        }
        answer = await self._ask("POST", "/jobs", body)
        if answer.status == NEED_DELEGATION and not self._token:
            await self._delegate()
            answer = await self._ask("POST", "/jobs", body)
        if answer.status == 409:
            return await self._job_id(sid)
        return str(_good(answer, "submitting a job")["job_id"])

    async def _job_id(self, sid: str) -> str:
        """The id of the job that was submitted before: computed as the server does."""
        who = _good(await self._ask("GET", "/whoami"), "asking who we are")
        base = uuid.UUID(str(who["base_id"]))
        return str(uuid.uuid5(uuid.uuid5(base, str(who["vos"][0])), sid))

    async def _delegate(self) -> None:
        if not self._proxy:
            raise StorageFault("permanent", f"{self._url} wants a proxy; fts3.proxy names none")
        who = _good(await self._ask("GET", "/whoami"), "asking who we are")
        path = f"/delegation/{who['delegation_id']}"
        request = await self._ask("GET", f"{path}/request")
        if request.status != 200:
            raise StorageFault("transient", f"{self._url}: delegation: {request.status} {request.document}")
        credential = await asyncio.to_thread(Path(self._proxy).read_bytes)
        signed = delegation.signed(str(request.document).encode(), credential, datetime.now(UTC))
        put = await self._ask("PUT", f"{path}/credential", signed)
        if put.status != 201:
            raise StorageFault("transient", f"{self._url}: delegation: {put.status} {put.document}")
        self._proxy_until_s = delegation.until_s(signed)

    # ---- looking -----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Looks at all jobs again and again, until none is waited for."""
        failed = 0
        try:
            while self._waiting:
                await asyncio.sleep(self._poll_s)
                try:
                    for start in range(0, len(self._waiting), JOBS_MAX):
                        await self._look_at(list(self._waiting)[start : start + JOBS_MAX])
                    failed = 0
                    self._error = ""
                except StorageFault as fault:
                    failed += 1
                    self._error = fault.said
                    if failed == LOOKS_MAX:
                        self._end_all(fault)
        except Exception as wrong:
            self._end_all(StorageFault("transient", f"{self._url}: {wrong!r}"))
        finally:
            self._looking = None

    def _end_all(self, fault: StorageFault) -> None:
        for files in self._waiting.values():
            for future in files.values():
                if not future.done():
                    future.set_result(fault)
        self._waiting.clear()

    async def _look_at(self, jobs: Sequence[str]) -> None:
        if not jobs:
            return
        answer = await self._ask("GET", f"/jobs/{','.join(jobs)}?files={FIELDS}")
        if answer.status == 404 and len(jobs) == 1:
            found: list[Any] = [{"job_id": jobs[0], "http_status": 404}]
        elif answer.status in (200, 207):
            found = answer.document if isinstance(answer.document, list) else [answer.document]
        else:
            raise StorageFault("transient", f"{self._url}: looking at jobs: {answer.status}")
        for job in found:
            self._take(job)

    def _take(self, job: Any) -> None:
        """Ends the copies of a job that have ended there."""
        number = str(job.get("job_id"))
        files = self._waiting.get(number, {})
        if int(job.get("http_status", 200)) == 404:
            for future in files.values():
                if not future.done():
                    future.set_result(StorageFault("transient", f"{self._url} does not know the job {number} any more"))
            files.clear()
        for file in job.get("files", ()):
            target, state = str(file["dest_surl"]), str(file["file_state"])
            self._files[number, target] = int(file["file_id"])
            if target in files and state in ENDED:
                future = files.pop(target)
                self._files.pop((number, target))
                if not future.done():
                    future.set_result(None if state == "FINISHED" else _fault(str(file.get("reason") or state)))
        if number in self._waiting and not files:
            del self._waiting[number]

    async def _cancel(self, job: str, target: str) -> None:
        self._waiting.get(job, {}).pop(target, None)
        with suppress(StorageFault):
            if (job, target) not in self._files:
                await self._look_at([job])
            file = self._files.pop((job, target), None)
            if file is not None:
                await self._ask("DELETE", f"/jobs/{job}/files/{file}")

    # ---- requests ----------------------------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, body: dict[str, Any] | bytes | None = None) -> _Answer:
        headers = {"Accept": "application/json"}
        if self._token:
            text = await asyncio.to_thread(Path(self._token).read_text, encoding="utf-8")
            headers["Authorization"] = f"Bearer {text.strip()}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if isinstance(body, dict):
            headers["Content-Type"] = "application/json"
        async with self._web.asked(method, self._url + path, headers=headers, data=data) as response:
            raw = (await self._web.body(response)).decode(errors="replace")
        try:
            return _Answer(response.status, json.loads(raw) if raw else None)
        except ValueError:
            return _Answer(response.status, raw)


def _file(transfer: Transfer) -> dict[str, Any]:
    file: dict[str, Any] = {
        "sources": [transfer.source],
        "destinations": [transfer.target],
        "metadata": {"reploc": transfer.key},
    }
    if transfer.checksum is not None:
        algorithm, _, digits = transfer.checksum.partition(":")
        file["checksum"] = f"{algorithm.upper()}:{digits}"
    if transfer.size is not None:
        file["filesize"] = transfer.size
    return file


def _good(answer: _Answer, what: str) -> Any:
    if answer.status == 200 and isinstance(answer.document, dict):
        return answer.document
    blame = "transient" if answer.status >= 500 or answer.status in (200, 408, 429) else "permanent"
    said = answer.document.get("message", "") if isinstance(answer.document, dict) else str(answer.document)[:300]
    raise StorageFault(blame, f"FTS3: {what}: {answer.status} {said}")  # type: ignore[arg-type]


def _fault(reason: str) -> StorageFault:
    """The fault in a file's reason."""
    found = _REASON.match(reason.strip())
    if found is None:
        return StorageFault("transient", f"FTS3: {reason}")
    side = "source" if found[1] == "SOURCE" else "destination"
    fault = of_errno(int(found[2] or 0), f"FTS3: {reason}")
    return fault if side == "source" else fault.at("destination")


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"
