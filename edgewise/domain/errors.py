"""The one error tree. Every door to the outside world translates foreign errors into one of these.

EdgewiseError
├── BadInput             what a person or a file gave us is wrong              (exit 2, HTTP 400)
│   ├── UnknownModel     not in the catalogue                                  (HTTP 404)
│   ├── UnknownNode      not in the cluster                                    (HTTP 404)
│   └── TooLarge         a body or file over its limit                         (HTTP 413)
├── SetupError           this machine lacks something we need                  (exit 2, HTTP 500)
├── Unavailable          a part is not reachable or not ready; try again later (exit 1, HTTP 503)
│   ├── ClusterUnavailable / TelemetryUnavailable / StoreUnavailable / MemoryUnavailable
│   ├── ChatUnavailable  the language model did not answer usefully
│   └── NotReady         a replica is known, but not ready; carries retry_after_s
├── Refused              understood and declined: the state does not allow it  (exit 1, HTTP 409)
│   ├── AdmissionRefused a model does not fit the node's free memory
│   └── ReplicaBusy      work is in flight, or the replica is in the wrong state
└── RunFailed            something broke while running                         (exit 1, HTTP 500)
    └── LoadFailed       a model could not be loaded
"""

from __future__ import annotations


class EdgewiseError(Exception):
    """Base of all our errors: `message` says what, `where` says where, `hint` says what to do about it."""

    code = "error"
    exit_code = 1
    http_status = 500

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def line(self) -> str:
        """One line for a terminal: where, what, what to do."""
        head = f"{self.where}: " if self.where else ""
        tail = f" ({self.hint})" if self.hint else ""
        return f"{head}{self.message}{tail}"

    def as_dict(self) -> dict[str, dict[str, str]]:
        """The one error shape of our HTTP APIs: {error: {code, message, where, hint}}."""
        return {"error": {"code": self.code, "message": self.message, "where": self.where, "hint": self.hint}}


class BadInput(EdgewiseError):
    code, exit_code, http_status = "bad_input", 2, 400


class UnknownModel(BadInput):
    code, http_status = "model_not_found", 404


class UnknownNode(BadInput):
    code, http_status = "node_not_found", 404


class TooLarge(BadInput):
    code, http_status = "too_large", 413


class SetupError(EdgewiseError):
    code, exit_code = "setup", 2


class Unavailable(EdgewiseError):
    """Carries `retry_after_s`, an honest estimate in seconds of when to try again (None: unknown)."""

    code, http_status = "unavailable", 503

    def __init__(self, message: str, *, where: str = "", hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, where=where, hint=hint)
        self.retry_after_s = retry_after_s


class ClusterUnavailable(Unavailable):
    code = "cluster_unavailable"


class TelemetryUnavailable(Unavailable):
    code = "telemetry_unavailable"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class MemoryUnavailable(Unavailable):
    code = "memory_unavailable"


class ChatUnavailable(Unavailable):
    """`asked`: whether the model was asked at all (it is not before the wait it has asked for is over)."""

    code = "chat_unavailable"

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        hint: str = "",
        retry_after_s: float | None = None,
        asked: bool = True,
    ) -> None:
        super().__init__(message, where=where, hint=hint, retry_after_s=retry_after_s)
        self.asked = asked


class NotReady(Unavailable):
    code = "not_ready"


class Refused(EdgewiseError):
    code, http_status = "refused", 409


class AdmissionRefused(Refused):
    code = "admission_refused"


class ReplicaBusy(Refused):
    code = "replica_busy"


class RunFailed(EdgewiseError):
    code = "run_failed"


class LoadFailed(RunFailed):
    code = "load_failed"
