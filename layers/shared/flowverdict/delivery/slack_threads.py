"""Keep all messages about one problem in one Slack thread, whose first message says how it stands.

The first message of a problem starts the thread. Later ones change the first message in place and
are replies. An end is a reply only, so many ends of one sweep add no message to the channel; what
calls for attention (a reminder, a problem that got worse) is shown in the channel too. A problem
that comes again after its end has a thread of its own, and so has each digest.

``Thread`` is what is stored of a thread. Before a message is posted, the thread is claimed, so that
two invocations neither start two threads nor post one message twice. A claim that is not given back
ends by itself. What cannot be had for certain: Slack takes the same message twice, so a crash after
a message was posted and before that was stored posts the message again.

The thread is a comfort and the message is not: where the store cannot be used, or the first message
is gone, a message is posted that starts a thread.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from flowverdict.alerts.model import Alert, Kind, Status
from flowverdict.core.errors import (
    DeliveryError,
    MessageFixedError,
    MessageGoneError,
    StateError,
)
from flowverdict.delivery.message_settings import DEFAULTS, MessageSettings
from flowverdict.delivery.renderers import slack

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.alerts.model import Notification
    from flowverdict.delivery.slack_bot import Place, SlackBot

# As long as two calls of Slack take at worst. Shorter than the 3 minutes after which Lambda's last
# try of an event comes
# (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html).
CLAIM_SECONDS = 100
# For which the same text is the same message. The sweep sends again, after five minutes and its own
# interval, what may not have been sent. Reminders of the same text are hours apart.
SAME_SECONDS = 3_600
_MOST_SENT = 8

_BY_ITSELF = {Kind.DIGEST, Kind.RATE_LIMITED}  # about no problem that goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that was posted: what tells it from others, and when, in Unix seconds."""

    mark: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """What is stored of the thread of a problem in a channel.

    Parameters
    ----------
    version
        Of the stored item; 0 if there is none, ``None`` if one is there and not readable.
    first
        Where the first message stands; ``None`` if there is none.
    opened_at
        When the episode of the first message began, in Unix seconds, if that is known.
    has_ended
        Whether the end of the episode was posted.
    sent
        The latest messages.
    claimed_until
        Until when another invocation may be posting, in Unix seconds; 0 for never.
    """

    version: int | None = 0
    first: Place | None = None
    opened_at: int | None = None
    has_ended: bool = False
    sent: tuple[Sent, ...] = ()
    claimed_until: int = 0


class ThreadStore(Protocol):
    """Remembers the threads of one channel; every method raises ``StateError`` if it cannot."""

    def read(self, channel: str, fingerprint: str) -> Thread:
        """Return what is stored; a new thread if nothing is."""
        ...

    def write(self, channel: str, fingerprint: str, thread: Thread) -> Thread | None:
        """Store a thread that was read, and return it with its new version.

        ``None`` if another invocation was faster.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackThreads:
    """Posts notifications to the threads of a channel.

    Parameters
    ----------
    channel
        The channel's id, or its name with ``#``.
    clock
        Returns Unix seconds.
    on_degraded
        Called with the reason where a message could not be what it should be: no thread, or a first
        message that stays as it is.
    """

    store: ThreadStore
    channel: str
    clock: Callable[[], float]
    on_degraded: Callable[[str], None]
    settings: MessageSettings = DEFAULTS

    def post(self, bot: SlackBot, notification: Notification) -> bool:
        """Post one notification; return whether it was posted now, and not before.

        Raises
        ------
        WebhookRefusedError
            Slack does not take the token (any more).
        DeliveryError
            Slack did not take the message, or another invocation is posting to the same thread.
        """
        now = int(self.clock())
        mark = hashlib.sha256(notification.to_json().encode()).hexdigest()[:16]
        try:
            thread = self.store.read(self.channel, notification.fingerprint)
        except StateError as error:
            self.on_degraded(f"no thread: {error}")
            self._post_first(bot, notification)
            return True
        if any(sent.mark == mark and now - sent.at < SAME_SECONDS for sent in thread.sent):
            return False
        claimed = self._claim(notification, thread, now)
        try:
            after = self._post(bot, notification, thread, now)
        except DeliveryError:
            if claimed is not None:
                self._store(notification, replace(claimed, claimed_until=0))
            raise
        version = thread.version if claimed is None else claimed.version
        sent = (*thread.sent, Sent(mark=mark, at=now))[-_MOST_SENT:]
        self._store(notification, replace(after, version=version, sent=sent, claimed_until=0))
        return True

    def _claim(self, notification: Notification, thread: Thread, now: int) -> Thread | None:
        """Return the claimed thread; ``None`` if the claim cannot be stored."""
        busy = "another invocation posts to the same thread; another try may succeed"
        if now < thread.claimed_until:
            raise DeliveryError(busy)
        try:
            claimed = self.store.write(
                self.channel,
                notification.fingerprint,
                replace(thread, claimed_until=now + CLAIM_SECONDS),
            )
        except StateError as error:
            self.on_degraded(f"not claimed, the message may come twice: {error}")
            return None
        if claimed is None:
            raise DeliveryError(busy)
        return claimed

    def _store(self, notification: Notification, thread: Thread) -> None:
        """Store what was posted; the message is in the channel already, whatever happens here."""
        try:
            stored = self.store.write(self.channel, notification.fingerprint, thread)
        except StateError as error:
            self.on_degraded(f"not stored, so the next message may start a thread: {error}")
            return
        if stored is None:
            self.on_degraded("not stored, because posting took long and another invocation wrote")

    def _post(self, bot: SlackBot, notification: Notification, thread: Thread, now: int) -> Thread:
        """Post to the thread, or start one; return the thread as it is then."""
        first = thread.first
        if first is None or _starts(notification, thread):
            return self._post_first(bot, notification)
        is_late = _is_late(notification, thread)
        try:
            if not is_late:
                self._update(bot, notification, first, now)
            bot.post(
                first.channel_id,
                slack.reply(notification),
                thread=first,
                broadcast=not notification.is_over and not is_late,
            )
        except MessageGoneError as error:
            self.on_degraded(f"a new thread: {error}")
            return self._post_first(bot, notification)
        return replace(thread, has_ended=thread.has_ended or notification.is_over)

    def _update(self, bot: SlackBot, notification: Notification, first: Place, now: int) -> None:
        updated = slack.Updated(first_at=first.posted_at, now=now)
        try:
            bot.update(first, slack.message(notification, self.settings, updated))
        except MessageFixedError as error:
            self.on_degraded(f"the first message stays as it is: {error}")

    def _post_first(self, bot: SlackBot, notification: Notification) -> Thread:
        place = bot.post(self.channel, slack.message(notification, self.settings))
        if place is None:
            self.on_degraded("no thread: Slack did not say where the message stands")
        return Thread(
            first=place, opened_at=_opened_at(notification), has_ended=notification.is_over
        )


def _starts(notification: Notification, thread: Thread) -> bool:
    """Whether a notification starts a thread although the problem has one."""
    if notification.kind in _BY_ITSELF:
        return True
    return thread.has_ended and not notification.is_over and not _is_late(notification, thread)


def _is_late(notification: Notification, thread: Thread) -> bool:
    """Whether a message of an episode comes after the end of the same episode.

    SNS delivers in any order. Such a message must not open again what has ended.
    """
    opened_at = _opened_at(notification)
    return (
        thread.has_ended
        and not notification.is_over
        and notification.status in {Status.FIRING, Status.REMINDER}
        and opened_at is not None
        and thread.opened_at is not None
        and opened_at <= thread.opened_at
    )


def _opened_at(notification: Notification) -> int | None:
    return notification.opened_at if isinstance(notification, Alert) else None
