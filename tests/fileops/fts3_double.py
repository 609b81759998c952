"""A small FTS3 server that follows the real one's REST interface strictly, and copies between WebDAV doors.

Errors as there: 400 for a document that is not right, 401 without an identity, 409 for an id that exists, 419 without a
proxy, 207 with a job that is missing among several, 405 for deletions.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

BASE = uuid.UUID("01874efb-4735-4595-bc9c-591aef8240c9")
PARAMS = {"overwrite", "verify_checksum", "retry", "id_generator", "sid", "bring_online", "priority"}
FILE = {"sources", "destinations", "checksum", "filesize", "metadata"}


@dataclass
class Fts3Server:
    """Jobs in a dictionary; `token` is whom it believes, else whoever has delegated. A deaf one cancels nothing."""

    token: str = ""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    lose_answers: int = 0
    deaf: bool = False
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    cancelled: list[int] = field(default_factory=list)
    proxy: list[x509.Certificate] = field(default_factory=list)
    key: Any = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _said(401, "no identity")
        parts = [part for part in request.path.split("/") if part]
        if parts == ["whoami"]:
            return web.json_response({"base_id": str(BASE), "vos": ["test"], "delegation_id": "d1", "user_dn": "/CN=t"})
        if parts[:2] == ["delegation", "d1"]:
            return await self._delegation(request, parts[2:])
        if parts == ["jobs"] and request.method in ("POST", "PUT"):
            return await self._submit(json.loads(await request.read()))
        if parts[0] == "jobs" and request.method == "GET":
            return self._shown(parts[1].split(","), request.query_string)
        if request.method == "DELETE" and self.deaf:
            return _said(503, "try again later")
        if parts[0] == "jobs" and request.method == "DELETE" and parts[2:3] == ["files"]:
            return self._cancelled(parts[1], [int(number) for number in parts[3].split(",")])
        return _said(404, "no such path")

    async def _delegation(self, request: web.BaseRequest, parts: list[str]) -> web.Response:
        if parts == ["request"]:
            self.key = rsa.generate_private_key(65537, 2048)
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fts")])
            csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(self.key, hashes.SHA256())
            return web.Response(body=csr.public_bytes(serialization.Encoding.PEM), content_type="text/plain")
        chain = x509.load_pem_x509_certificates(await request.read())
        proxy, own = chain[0], chain[1]
        proxy.verify_directly_issued_by(own)
        if proxy.public_key() != self.key.public_key() or proxy.subject.rdns[:-1] != own.subject.rdns:
            return _said(400, "this is no proxy for that request")
        self.proxy = chain
        return web.Response(status=201)

    async def _submit(self, job: Any) -> web.StreamResponse:
        if "delete" in job:
            return _said(405, "deletions are not supported")
        params = job["params"]
        if not set(params) <= PARAMS or not all(set(each) <= FILE and each["sources"] for each in job["files"]):
            return _said(400, f"unknown parameters: {sorted(set(params) - PARAMS)}")
        if not self.token and not self.proxy:
            return _said(419, "no proxy was delegated")
        number = str(uuid.uuid5(uuid.uuid5(BASE, "test"), params["sid"]))
        if number in self.jobs:
            return _said(409, f"the job {number} exists")
        files = [
            {
                "file_id": len(self.jobs) * 1000 + index,
                "file_state": "SUBMITTED",
                "source_surl": each["sources"][0],
                "dest_surl": each["destinations"][0],
                "reason": "",
            }
            for index, each in enumerate(job["files"], 1)
        ]
        self.jobs[number] = {"job_id": number, "job_state": "SUBMITTED", "files": files, "params": params}
        for file in files:
            task = asyncio.create_task(self._copied(file))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        if self.lose_answers:
            self.lose_answers -= 1
            return _said(503, "lost on its way")
        return web.json_response({"job_id": number})

    async def _copied(self, file: dict[str, Any]) -> None:
        await self.held.wait()
        if file["file_state"] == "CANCELED":
            return
        file["file_state"] = "ACTIVE"
        source, target = (file[name].replace("dav://", "http://") for name in ("source_surl", "dest_surl"))
        async with aiohttp.ClientSession() as session:
            async with session.get(source) as got:
                if got.status != 200:
                    file |= {"file_state": "FAILED", "reason": f"SOURCE [2] {source}: no such file"}
                    return
                data = await got.read()
            async with session.put(target, data=data) as put:
                said = (
                    {"file_state": "FINISHED"} if put.status < 300 else {"file_state": "FAILED", "reason": "TRANSFER"}
                )
                file |= said

    def lose(self, job: str) -> None:
        """Forgets a job, whose copies are not made any more."""
        for file in self.jobs.pop(job)["files"]:
            file["file_state"] = "CANCELED"

    def _shown(self, jobs: list[str], query: str) -> web.Response:
        assert query.startswith("files="), query
        fields = query.removeprefix("files=").replace("%2C", ",").split(",")
        shown = [
            job | {"files": [{name: file[name] for name in fields} for file in job["files"]], "http_status": 200}
            if (job := self.jobs.get(number))
            else {"job_id": number, "http_status": 404, "http_message": "not found"}
            for number in jobs
        ]
        if len(jobs) == 1:
            return web.json_response(shown[0]) if jobs[0] in self.jobs else _said(404, "no such job")
        return web.json_response(shown, status=207 if any(each["http_status"] == 404 for each in shown) else 200)

    def _cancelled(self, job: str, numbers: list[int]) -> web.Response:
        for file in self.jobs[job]["files"]:
            if file["file_id"] in numbers:
                file["file_state"] = "CANCELED"
                self.cancelled.append(file["file_id"])
        return web.json_response(["CANCELED" for _ in numbers])


def _said(status: int, message: str) -> web.Response:
    return web.json_response({"status": f"{status}", "message": message}, status=status)


@asynccontextmanager
async def fts3(**told: Any) -> AsyncIterator[tuple[Fts3Server, str]]:
    """The server and its address; its copies wait for `held`, which is set."""
    server = Fts3Server(**told)
    server.held.set()
    runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield server, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        for task in list(server.tasks):
            task.cancel()
        await runner.cleanup()
