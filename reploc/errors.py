"""The one error tree: each class is a sentence, a stable code, an HTTP status and whether a retry can help.

    ReplocError
    ├── BadRequest            400  the request cannot be right
    │   ├── NameInvalid            a name breaks the limits of `reploc/names.py`
    │   ├── RequestMalformed       what arrived is no HTTP request
    │   ├── BodyLate          408  the body did not arrive in time
    │   ├── BodyInvalid            the body is not what the route expects
    │   ├── QueryInvalid           the query string is not what the route expects
    │   ├── InputInvalid           a line of a file given to a command is not what it expects
    │   ├── DumpUnfit              a dump of a storage is not to be believed
    │   ├── ValueInvalid           a value is not of its attribute's type
    │   ├── SummaryInvalid         a soft-state summary does not fit its own header
    │   ├── InventoryInvalid       frames that do not fit together, or definitions that contradict each other
    │   ├── PolicyInvalid          a policy, or a condition of one, cannot be right
    │   ├── TooLarge          413  a body, batch or line beyond its bound
    │   ├── RouteUnknown      404  no such path
    │   ├── MethodUnknown     405  not with this method
    │   └── MediaUnknown      415  neither JSON nor MessagePack
    ├── Unauthenticated       401  a certificate or token is not accepted
    ├── Forbidden             403  no rule allows this identity to do that
    ├── TooManyRequests       429  more than the bound of an identity or an address
    ├── NotFound              404  the thing named is not there
    │   ├── LfnUnknown · PfnUnknown · MappingUnknown · CollectionUnknown · AttributeUnknown · ValueUnknown
    │   ├── RlsIndexUnknown        a catalog sends nothing to that index server of the Globus RLS
    │   ├── DefinitionUnknown      placement has nothing defined under this name
    │   ├── SiteUnknown            an index node has no news of the site
    │   ├── NotIndexed             the index's settings leave out what was asked for
    │   ├── OperationUnknown
    │   └── NotRedirectable        there are copies, but none that a client can be sent to
    │   ├── RunUnknown · LossUnknown of the consistency checker
    ├── ChangesForgotten      410  a catalog's log of changes does not reach back so far
    ├── Conflict              409  the state of the service forbids it
    │   ├── LfnExists · AttributesDiffer · PfnsFull · DigestCollision
    │   ├── AttributeExists · AttributeInUse · AttributesFull · ValueExists
    │   ├── RlsIndexExists · RlsIndexUnfit · RlsPortClosed
    │   ├── OperationUnready       a file operation in its state cannot do that
    │   ├── OrderEnded             an order of placement that ended is told to have ended otherwise
    │   ├── NewsMissing            a cycle lacks news of sites that is complete and young enough
    │   ├── InventoryMoved         what a plan takes for granted does not hold any more
    │   ├── SiteClaimed            another sender speaks for this site
    │   ├── PlanOutdated           a plan is older than it may be
    │   ├── PlanExcessive          more would go than a cycle may take, and nobody said that it is meant
    │   ├── HierarchyLoop          an index node is told its own news through others, or over too many levels
    │   ├── SitesFull              an index node knows as many sites as it may
    │   └── IndexMismatch          sender and node disagree on slots, rate or protocol
    │   ├── SiteBusy               another run checks the site
    │   ├── RunNotHeld             a run waits for nobody's release
    ├── StoreError            500  the catalog's store cannot be used
    │   ├── StoreForeign · StoreVersion · StoreLocked · StoreReadOnly · StoreDamaged
    │   └── StoreFull         507
    ├── Unavailable           503  not now; try again
    │   ├── ProducerFailed         what a policy asks for could not be had
    │   ├── MemoryFull        507  an index node has no room for another filter
    │   └── Unreachable            a peer did not answer
    │       ├── NotConnected       there was no connection to it, so that nothing was asked
    │       └── SiteUnproven       a catalog does not prove that it is the site it is taken for
    ├── DeadlineExceeded      504  not in the time allowed
    ├── AnswerInvalid         502  a peer answered something that is not what was asked for
    ├── ConfigInvalid              a settings file is wrong (never leaves the process)
    └── Internal              500  a fault of reploc itself

Over HTTP an error is an RFC 9457 problem document with `code`; a client raises the class that the server raised.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An RFC 9457 problem document, with the stable `code` of the error tree."""

    title: str
    status: int
    code: str
    detail: str = ""
    hint: str = ""
    retryable: bool = False
    type: str = "about:blank"


class ReplocError(Exception):
    """Something that reploc says no to, in words."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "the request failed"
    retryable: ClassVar[bool] = False
    hint: ClassVar[str] = ""

    by_code: ClassVar[dict[str, type[ReplocError]]] = {}

    def __init__(self, detail: str = "", *, hint: str = "") -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.advice = hint or self.hint

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.by_code[cls.code] = cls

    def problem(self) -> Problem:
        return Problem(
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            hint=self.advice,
            retryable=self.retryable,
        )


def from_problem(problem: Problem) -> ReplocError:
    """The error that the other side raised; an unknown code becomes Internal or BadRequest by its status."""
    kind = ReplocError.by_code.get(problem.code)
    if kind is None:
        kind = BadRequest if 400 <= problem.status < 500 else Internal
    return kind(problem.detail or problem.title, hint=problem.hint)


class BadRequest(ReplocError):
    code, status, title = "bad-request", 400, "the request cannot be right"


class NameInvalid(BadRequest):
    code, title = "name-invalid", "a name breaks the limits"


class RequestMalformed(BadRequest):
    code, title = "request-malformed", "what arrived is no HTTP request"


class BodyLate(BadRequest):
    code, status, title = "body-late", 408, "the body did not arrive in time"


class BodyInvalid(BadRequest):
    code, title = "body-invalid", "the body is not what this route expects"


class QueryInvalid(BadRequest):
    code, title = "query-invalid", "the query string is not what this route expects"


class InputInvalid(BadRequest):
    code, title = "input-invalid", "a line of the input is not what the command expects"


class DumpUnfit(BadRequest):
    code, title = "dump-unfit", "a dump of a storage is not to be believed"


class ValueInvalid(BadRequest):
    code, title = "value-invalid", "a value is not of its attribute's type"


class SummaryInvalid(BadRequest):
    code, title = "summary-invalid", "a summary does not fit its header"


class InventoryInvalid(BadRequest):
    code, title = "inventory-invalid", "what is said about data contradicts itself"


class PolicyInvalid(BadRequest):
    code, title = "policy-invalid", "the policy cannot be right"
    hint = "`reploc placement policy check FILE` shows every problem with its place"


class TooLarge(BadRequest):
    code, status, title = "too-large", 413, "the request is beyond a bound"


class RouteUnknown(BadRequest):
    code, status, title = "route-unknown", 404, "there is no such path"


class MethodUnknown(BadRequest):
    code, status, title = "method-unknown", 405, "this path does not take this method"


class MediaUnknown(BadRequest):
    code, status, title = "media-unknown", 415, "the body is neither JSON nor MessagePack"


class Unauthenticated(ReplocError):
    code, status, title = "unauthenticated", 401, "a certificate or token is not accepted"


class Forbidden(ReplocError):
    code, status, title = "forbidden", 403, "no rule allows that"
    hint = "`reploc whoami` says who the service takes you for, and what you may"


class TooManyRequests(ReplocError):
    code, status, title, retryable = "too-many-requests", 429, "more requests than are taken in this time", True

    def __init__(self, detail: str = "", *, hint: str = "", wait_s: float = 1.0, whose: str = "") -> None:
        """`wait_s` is when one more will be taken, `whose` bound it is: an address's or an identity's."""
        super().__init__(detail, hint=hint)
        self.wait_s = wait_s
        self.whose = whose


class NotFound(ReplocError):
    code, status, title = "not-found", 404, "the thing named is not there"


class LfnUnknown(NotFound):
    code, title = "lfn-unknown", "the catalog does not hold this LFN"


class PfnUnknown(NotFound):
    code, title = "pfn-unknown", "the catalog does not hold this PFN"


class MappingUnknown(NotFound):
    code, title = "mapping-unknown", "the LFN is known, but not with this PFN"


class RunUnknown(NotFound):
    code, title = "run-unknown", "there is no such run"


class LossUnknown(NotFound):
    code, title = "loss-unknown", "the file is not on the list of lost files"


class ChangesForgotten(ReplocError):
    code, status, title = "changes-forgotten", 410, "the log of changes does not reach back so far"
    hint = "read the catalog anew"


class CollectionUnknown(NotFound):
    code, title = "collection-unknown", "the catalog holds nothing of this collection"


class RlsIndexUnknown(NotFound):
    code, title = "rls-index-unknown", "the catalog sends nothing to that index server of the Globus RLS"


class DefinitionUnknown(NotFound):
    code, title = "definition-unknown", "nothing is defined under this name"


class AttributeUnknown(NotFound):
    code, title = "attribute-unknown", "no such attribute is defined"
    hint = "define it first"


class ValueUnknown(NotFound):
    code, title = "value-unknown", "the name has no value of this attribute"


class NotIndexed(NotFound):
    code, title = "not-indexed", "the index is not told of that"
    hint = "the index's settings say what it is told of: compression, and collections beside it"


class SiteUnknown(NotFound):
    code, title = "site-unknown", "there is no news of the site"


class OperationUnknown(NotFound):
    code, title = "operation-unknown", "there is no such file operation"


class NotRedirectable(NotFound):
    code, title = "not-redirectable", "no copy has a URL that a client can be sent to"
    hint = "GET /v1/replicas names all copies"


class Conflict(ReplocError):
    code, status, title = "conflict", 409, "the state of the service forbids it"


class LfnExists(Conflict):
    code, title = "lfn-exists", "the LFN is registered already"
    hint = "add another copy with mode add or put"


class AttributesDiffer(Conflict):
    code, title = "attributes-differ", "size, checksum or collection differ from what is registered"
    hint = "say update: true to change them"


class PfnsFull(Conflict):
    code, title = "pfns-full", "the LFN has as many PFNs as one LFN may have"


class DigestCollision(Conflict):
    code, title = "digest-collision", "another LFN has the same 128-bit digest"


class RlsIndexExists(Conflict):
    code, title = "rls-index-exists", "the catalog sends to that index server of the Globus RLS already"


class RlsIndexUnfit(Conflict):
    code, title = "rls-index-unfit", "that cannot be sent to an index server of the Globus RLS"


class RlsPortClosed(Conflict):
    code, title = "rls-port-closed", "clients of the Globus RLS cannot reach the catalog"
    hint = "set rls.listen, or rls.url where something else answers for it"


class AttributeExists(Conflict):
    code, title = "attribute-exists", "the attribute is defined already"


class AttributeInUse(Conflict):
    code, title = "attribute-in-use", "the attribute has values"
    hint = "say clear: true to remove them too"


class AttributesFull(Conflict):
    code, title = "attributes-full", "there are as many attributes, or values of one name, as there may be"


class ValueExists(Conflict):
    code, title = "value-exists", "the name has a value of this attribute already"


class OperationUnready(Conflict):
    code, title = "operation-unready", "a file operation in its state cannot do that"


class OrderEnded(Conflict):
    code, title = "order-ended", "the order has ended"


class NewsMissing(Conflict):
    code, title = "news-missing", "the news of some sites is incomplete or too old"
    hint = "wait for their news, or leave these sites out with --partial"


class InventoryMoved(Conflict):
    code, title = "inventory-moved", "what the plan takes for granted does not hold any more"
    hint = "make a new plan, or do what still holds with --holding"


class SiteClaimed(Conflict):
    code, title = "site-claimed", "another sender speaks for this site"
    hint = "stop the other catalog, or wait until its news has expired"


class PlanOutdated(Conflict):
    code, title = "plan-outdated", "the plan is too old"
    hint = "make a new one"


class PlanExcessive(Conflict):
    code, title = "plan-excessive", "more would go than one cycle may take from a site"
    hint = "look at the plan; --yes-really says that it is meant"


class HierarchyLoop(Conflict):
    code, title = "hierarchy-loop", "an index node would be told its own news, or over too many levels"


class SitesFull(Conflict):
    code, title = "sites-full", "the index node knows as many sites as it may"


class IndexMismatch(Conflict):
    code, title = "index-mismatch", "sender and node disagree about the index"
    hint = "give both the same [index] settings"


class SiteBusy(Conflict):
    code, title = "site-busy", "another run checks this site"
    hint = "wait for it to end"


class RunNotHeld(Conflict):
    code, title = "run-not-held", "the run waits for nobody"


class StoreError(ReplocError):
    code, status, title = "store-error", 500, "the store cannot be used"


class StoreForeign(StoreError):
    code, title = "store-foreign", "this is not a store of reploc"


class StoreVersion(StoreError):
    code, title = "store-version", "the store has another version"


class StoreLocked(StoreError):
    code, title = "store-locked", "another process has the store open"


class StoreReadOnly(StoreError):
    code, title = "store-read-only", "the store cannot be written"


class StoreDamaged(StoreError):
    code, title = "store-damaged", "the store contradicts itself"


class StoreFull(StoreError):
    code, status, title = "store-full", 507, "the disk or the map is full"


class Unavailable(ReplocError):
    code, status, title, retryable = "unavailable", 503, "not now", True


class Unreachable(Unavailable):
    code, title = "unreachable", "a peer did not answer"


class NotConnected(Unreachable):
    code, title = "not-connected", "there was no connection to a peer"


class SiteUnproven(Unreachable):
    code, title, retryable = "site-unproven", "a catalog does not prove which site it is", False


class ProducerFailed(Unavailable):
    code, title = "producer-failed", "an attribute producer gave nothing"
    hint = "nothing was decided or ordered"


class MemoryFull(Unavailable):
    code, status, title = "memory-full", 507, "the index node has no room for another filter"
    hint = "give the node more memory, or spread the slots over more nodes"


class DeadlineExceeded(ReplocError):
    code, status, title, retryable = "deadline-exceeded", 504, "not in the time allowed", True


class AnswerInvalid(ReplocError):
    code, status, title = "answer-invalid", 502, "a peer answered something else than what was asked for"
    hint = "is this the address of another service, or of another version?"


class ConfigInvalid(ReplocError):
    code, title = "config-invalid", "the settings are wrong"


class Internal(ReplocError):
    code, title = "internal", "a fault of reploc itself"
