"""The Store port on SurrealDB: parameters in, rows out. The facts change in the queries."""

from service.adapters.store.accounts import AccountStore
from service.adapters.store.afterwards import AfterwardsStore
from service.adapters.store.deletions import DeletionStore
from service.adapters.store.endings import EndingStore
from service.adapters.store.inbox import InboxStore
from service.adapters.store.keeping import KeepingStore
from service.adapters.store.operators import OperatorStore
from service.adapters.store.submissions import SubmissionStore
from service.adapters.store.work import WorkStore

__all__ = ["SurrealStore"]


class SurrealStore(
    AccountStore,
    SubmissionStore,
    EndingStore,
    WorkStore,
    InboxStore,
    DeletionStore,
    AfterwardsStore,
    KeepingStore,
    OperatorStore,
):
    """Implements ports.Store, a part per module."""
