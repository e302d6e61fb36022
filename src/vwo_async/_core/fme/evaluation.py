"""What one FME decision knows, and what it notes while it is made.

A decision may need what only waiting brings: stored records, and answers of a gateway. Whoever asks for
something that is not known yet ends the decision with `NeedError`; it is made again when more is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from .plan import Feature, FMEPlan, Group, Rule
from .record import FeatureRecord
from .user import Details, FlagUser

Records: TypeAlias = Mapping[str, FeatureRecord | None]


class Known(NamedTuple):
    """What the caller knows; anything else he has to find out if he is told that it is needed.

    Attributes:
        records: The user's stored records by key, as far as they were read; the value None says that there is
            no record. None if there is no storage.
        has_gateway: Whether there is a gateway to ask.
        details: What the gateway said of the user; None if it was not asked.
        lists: What the gateway said of list id and text: whether the list holds the text.
    """

    records: Records | None = None
    has_gateway: bool = False
    details: Details | None = None
    lists: Mapping[tuple[str, str], bool] = {}

    def __repr__(self) -> str:
        # What is known of a visitor may stand in no log.
        return "<Known>"


class Needs(NamedTuple):
    """What must be known before a decision is possible; all of it can be asked for at once.

    Attributes:
        keys: Keys of stored records. Some of them may turn out not to matter.
        details: Whether the gateway has to be asked about the user's address and browser.
        lists: Pairs of list id and text to ask the gateway about.
    """

    keys: tuple[str, ...] = ()
    details: bool = False
    lists: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<Needs {len(self.keys)} records, details: {self.details}, {len(self.lists)} lists>"


def join_needs(several: Iterable[Needs]) -> Needs:
    """Return all that *several* decisions need, each thing once."""
    given = list(several)
    return Needs(
        tuple(dict.fromkeys(key for one in given for key in one.keys)),
        any(one.details for one in given),
        tuple(dict.fromkeys(pair for one in given for pair in one.lists)),
    )


class NeedError(Exception):
    """The decision needs something that is not known yet."""

    def __init__(self, needs: Needs) -> None:
        super().__init__()
        self.needs = needs


NOTHING = Known()
_NO_DETAILS = Details()
_NO_GATEWAY = "a segment asks what only a gateway knows, and there is none: that part does not hold"


class Evaluation:
    """One decision on its way: the `Subject` of its segments, and a memory of what it has found.

    Attributes:
        plan: The compiled settings.
        user: The user.
        records: As in `Known`, with the records that this decision itself writes.
        written: The records that this decision writes, by key, each with the feature's id if it is one's.
        admitted: The flag that is decided, once its rollout has admitted the user.
        names_user: Whether user lists know the user: in the holdouts of the flag itself they do not.
        notes: What was left out, and why.
    """

    # Set when they are needed: most decisions need none of them.
    written: Mapping[str, tuple[FeatureRecord, int | None]] = {}
    notes: tuple[str, ...] = ()
    names_user = True
    admitted: Feature | None = None

    def __init__(self, plan: FMEPlan, user: FlagUser, known: Known) -> None:
        self.plan = plan
        self.user = user
        self.records = known.records
        self._known = known

    def read(self, key: str) -> FeatureRecord | None:
        """Return the stored record, None if there is none."""
        if self.records is None:
            return None
        try:
            return self.records[key]
        except KeyError:
            raise NeedError(Needs((key,))) from None

    def prepare_group(self, group: Group) -> None:
        """Make sure that all records are known that deciding *group* can need: they are read in one round."""
        if self.records is None:
            return
        missing = tuple(key for key in group.record_keys if key not in self.records)
        if missing:
            raise NeedError(Needs(missing))

    def prepare_details(self) -> None:
        """Make sure that the gateway was asked about the user, if there is one and anything to ask."""
        known, user = self._known, self.user
        if not known.has_gateway or known.details is not None or user.details is not None:
            return
        if user.user_agent or user.user_ip_address:
            raise NeedError(Needs(details=True))

    def write(self, key: str, record: FeatureRecord, feature_id: int | None = None) -> None:
        """Note that *record* has to be stored."""
        if self.records is not None:
            self.records = {**self.records, key: record}
            self.written = {**self.written, key: (record, feature_id)}

    def find_listed_id(self, *, is_hashed: bool) -> str | None:
        """See `Subject`."""
        if not self.names_user:
            return None
        return self.plan.name_visitor(self.user.id_bytes) if is_hashed else self.user.id

    def find_details(self) -> Details:
        """See `Subject`."""
        details = self.user.details or self._known.details
        if details is None and not self._known.has_gateway:
            self.notes = (_NO_GATEWAY,)
        return details or _NO_DETAILS

    def has_record(self, feature_id: int) -> bool:
        """See `Subject`."""
        return self.read(self.plan.features_by_id[feature_id].key) is not None

    def is_in_list(self, list_id: str, text: str) -> bool:
        """See `Subject`."""
        if not self._known.has_gateway:
            self.notes = (_NO_GATEWAY,)
            return False
        try:
            return self._known.lists[list_id, text]
        except KeyError:
            raise NeedError(Needs(lists=((list_id, text),))) from None

    def passes(self, rule: Rule) -> bool:
        """Tell whether the user passes the segment of *rule*."""
        return rule.segment is None or rule.segment(self.user.custom_variables, self)
