"""The audit log: who changed or pulled what.

fact ─► Recorder ─┬─► audit_log ─────► AuditLog, for the API
                  └─► audit_forwards ─► Forwarder ─► a syslog server
"""

from moorage.audit.forwarder import Forwarder
from moorage.audit.log import AuditLog
from moorage.audit.recorder import Recorder
from moorage.audit.syslog import Syslog

__all__ = ["AuditLog", "Forwarder", "Recorder", "Syslog"]
