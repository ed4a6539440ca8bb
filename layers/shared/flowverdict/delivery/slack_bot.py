"""Post and update messages of a Slack channel with a bot token, by Slack's Web API.

See https://docs.slack.dev/reference/methods/chat.postMessage,
https://docs.slack.dev/reference/methods/chat.update and
https://docs.slack.dev/reference/methods/views.open. The token is a secret that needs the scope
``chat:write`` alone (``views.open`` needs none). It is sent to Slack's own address and to no other;
tests have theirs on this machine. slack-sdk's ``WebClient`` is not used here: it follows a redirect
with the token, and reads an answer of any length for any time.

Slack answers ``200`` and ``{"ok": false, "error": CODE}`` where it refuses; ``ratelimited`` comes
with ``429`` (https://docs.slack.dev/apis/web-api/rate-limits). Slack knows no key by which it would
tell a message that is posted a second time
(https://github.com/slackapi/slack-api-specs/issues/10).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from flowverdict.core.errors import (
    ChannelRefusedError,
    DeliveryError,
    MessageFixedError,
    MessageGoneError,
    WebhookRefusedError,
)
from flowverdict.delivery.json_post import Answer, JsonPost

if TYPE_CHECKING:
    from collections.abc import Mapping

API: Final = "https://slack.com/api/"
# An answer repeats the message, with what Slack adds to it.
MAX_ANSWER_BYTES = 262_144
# Shorter than a webhook's, since a message of a thread takes two calls.
LONGEST_WAIT_SECONDS = 10

# A token that expires (``xoxe.``) would need another secret to be renewed.
_TOKEN = re.compile(r"xoxb-[A-Za-z0-9-]{1,250}")
_LOCAL = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\]):\d{1,5}/[a-z/]{0,20}")
_ERROR_CODE = re.compile(r"[a-z_]{1,64}")
_TS = re.compile(r"[0-9]{1,12}\.[0-9]{1,9}")
_CHANNEL_ID = re.compile(r"[A-Z][A-Z0-9]{1,30}")
_LIMITED = {"ratelimited", "rate_limited"}
# "It's possible some aspect of the operation succeeded", so these are left to Lambda's retries.
_FAULTS = {
    "fatal_error",
    "internal_error",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
    "update_failed",
}
_GONE = {"message_not_found", "thread_not_found", "cannot_reply_to_message"}
# The first message cannot be changed, or the channel has no threads; the news can still be posted.
_FIXED = {
    "block_mismatch",
    "cant_update_message",
    "edit_window_closed",
    "external_channel_migrating",
}
_NEW_TOKEN = "install the app again and store its new bot token where this token is stored"  # noqa: S105 - advice
_REFUSED = {
    "account_inactive": f"the app was removed from the workspace: {_NEW_TOKEN}",
    "invalid_auth": f"the token is wrong, or was revoked: {_NEW_TOKEN}",
    "not_authed": f"the token is wrong, or was revoked: {_NEW_TOKEN}",
    "token_expired": "turn token rotation off for the app, and store its bot token",
    "token_revoked": f"the token was revoked: {_NEW_TOKEN}",
}
_ADVICE = {
    "access_denied": "have the app allowed in the workspace",
    "ekm_access_denied": "the workspace's administrators suspended posting",
    "exchanged_trigger_id": "the press has opened a modal before",
    "expired_trigger_id": "the press is more than three seconds old",
    "missing_scope": "give the app the scope chat:write, and install it again",
}
_CHANNEL_ADVICE = {
    "channel_not_found": (
        "the channel does not exist, or is private and the app is not in it: "
        "invite the app, and give the channel by its id"
    ),
    "is_archived": "the channel is archived: unarchive it, or choose another channel",
    "no_permission": "invite the app into the channel",
    "not_in_channel": "invite the app into the channel: /invite @flowverdict",
    "restricted_action": "the workspace's administrators restrict posting there: have the app "
    "allowed, or choose another channel",
    "restricted_action_read_only_channel": "the channel is read-only: choose another channel",
    "restricted_action_thread_only_channel": (
        "the channel takes replies in threads alone: choose another channel"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a message stands: the channel's id, and the message's ``ts``, which names it there."""

    channel_id: str
    ts: str

    @property
    def posted_at(self) -> int:
        """When it was posted, in Unix seconds: a ``ts`` begins with that."""
        return int(self.ts.partition(".")[0])

    @classmethod
    def from_text(cls, channel_id: object, ts: object) -> Place | None:
        """Return the place, or ``None`` if one of both is not of Slack's form."""
        if (
            isinstance(channel_id, str)
            and isinstance(ts, str)
            and _CHANNEL_ID.fullmatch(channel_id)
            and _TS.fullmatch(ts)
        ):
            return cls(channel_id=channel_id, ts=ts)
        return None


def is_bot_token(text: str) -> bool:
    """Whether a text is a bot token that does not expire."""
    return _TOKEN.fullmatch(text) is not None


def is_api_address(text: str) -> bool:
    """Whether a token may be sent to an address: Slack's own, or one on this machine, for tests."""
    return text == API or _LOCAL.fullmatch(text) is not None


class SlackBot:
    """An app of a workspace that posts by its bot token.

    Parameters
    ----------
    token
        The bot token, secret.
    api
        Where the methods are.
    is_quick
        Whether each call is made once, and given up after a second: somebody waits.

    Raises
    ------
    DeliveryError
        The token may not be sent to the address.
    """

    def __init__(self, token: str, *, api: str = API, is_quick: bool = False) -> None:
        if not is_api_address(api):
            raise DeliveryError("a Slack token is sent to Slack alone")
        self._api = api
        post = JsonPost(
            title="Slack",
            headers={"Authorization": f"Bearer {token}"},
            longest_wait=LONGEST_WAIT_SECONDS,
            most_bytes=MAX_ANSWER_BYTES,
        )
        if is_quick:
            post = replace(post, timeout_seconds=1, answer_seconds=1, longest_wait=0, max_retries=0)
        self._post = post

    def post(
        self,
        channel: str,
        message: Mapping[str, object],
        *,
        thread: Place | None = None,
        broadcast: bool = False,
    ) -> Place | None:
        """Post a message and return where it stands; ``None`` if Slack did not say where.

        Parameters
        ----------
        channel
            The channel's id, or its name with ``#``.
        thread
            The first message of the thread to reply in.
        broadcast
            Whether the channel shows the reply too.

        Raises
        ------
        MessageGoneError
            The thread does not exist any more.
        WebhookRefusedError
            Slack does not take the token (any more).
        ChannelRefusedError
            The channel does not exist, or takes no messages of the app.
        DeliveryError
            Slack could not be reached, is overloaded, or did not take the message; the text says
            what to do.
        """
        in_thread: dict[str, object] = {}
        if thread is not None:
            in_thread = {"thread_ts": thread.ts, "reply_broadcast": broadcast}
        # Slack would show a preview of each linked page.
        plain = {**message, "unfurl_links": False, "unfurl_media": False}
        told = self._call("chat.postMessage", {"channel": channel, **plain, **in_thread})
        return Place.from_text(told.get("channel"), told.get("ts"))

    def update(self, place: Place, message: Mapping[str, object]) -> None:
        """Replace the text of a message; doing it twice changes nothing.

        Raises
        ------
        MessageGoneError
            The message, or its channel, does not exist any more.
        MessageFixedError
            The message cannot be changed (any more).
        WebhookRefusedError, DeliveryError
            As ``post`` raises them.
        """
        self._call(
            "chat.update",
            # Other than a new message, a changed one has links made of names by default.
            {"channel": place.channel_id, "ts": place.ts, **message, "parse": "none"},
            gone=_GONE | {"channel_not_found", "is_inactive"},
        )

    def open_view(self, trigger_id: str, view: Mapping[str, object]) -> None:
        """Open a modal for the person who has just pressed a button.

        Slack takes the press's ``trigger_id`` once, within three seconds.

        Raises
        ------
        WebhookRefusedError, DeliveryError
            As ``post`` raises them.
        """
        self._call("views.open", {"trigger_id": trigger_id, "view": view})

    def _call(
        self, method: str, arguments: Mapping[str, object], gone: set[str] = _GONE
    ) -> Mapping[str, object]:
        answer = self._post.send(f"{self._api}{method}", arguments, _is_limited)
        told = _object(answer)
        if told.get("ok") is True and answer.status == HTTPStatus.OK:
            return told
        code = _code(told)
        if code in gone:
            raise MessageGoneError(f"Slack does not have the message any more ({code})")
        if code in _FIXED:
            raise MessageFixedError(f"Slack does not let the message be changed ({code})")
        shown = f"{answer.status} {code}".strip()
        if code in _REFUSED:
            raise WebhookRefusedError(f"Slack refused the token ({shown}): {_REFUSED[code]}")
        if code in _CHANNEL_ADVICE:
            raise ChannelRefusedError(
                f"Slack did not take the message ({shown}): {_CHANNEL_ADVICE[code]}"
            )
        raise DeliveryError(f"Slack did not take the message ({shown}): {_advice(answer, code)}")


def _object(answer: Answer) -> Mapping[str, object]:
    try:
        told = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _code(told: Mapping[str, object]) -> str:
    code = told.get("error")
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""


def _is_limited(answer: Answer) -> bool:
    return answer.status == HTTPStatus.TOO_MANY_REQUESTS or _code(_object(answer)) in _LIMITED


def _advice(answer: Answer, code: str) -> str:
    if _is_limited(answer):
        return f"too many messages, it asks to wait{answer.asked_to_wait}; another try may succeed"
    if code in _FAULTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "Slack has a fault; another try may succeed"
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        return "it names another address, which is not followed"
    if not code:
        return "it did not answer as Slack does: look at what stands between this function and it"
    return _ADVICE.get(
        code, "this is a defect of flowverdict, please report it with the alert's JSON"
    )
