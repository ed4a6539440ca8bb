"""Build the function ``slack_actions``: what people press in Slack, done as the command does it.

A press is done by ``lifecycle/on_call_commits.py``, as ``flowverdict alerts`` does it. Slack waits
three seconds and delivers a press once: after a failure Slack shows a warning beside the button,
and the person presses again.

With the app's bot token a button that silences opens a modal, which asks for the reason, and the
alert is silenced when that is submitted. Where the modal cannot be opened, the button silences at
once, as it does without the token.

This module does not import the pipeline, so that it starts fast.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

import boto3
from botocore.config import Config

from flowverdict.alerts.matching import Key
from flowverdict.alerts.model import Alert
from flowverdict.alerts.policy_entry import policy_entry
from flowverdict.app.observability import LogCount, Observability
from flowverdict.app.settings import alert_table, intervals
from flowverdict.app.slack_request import RefusedError, press_of, signed_request
from flowverdict.app.webhook_address import SecretReference, StoredSecret
from flowverdict.core.errors import DeliveryError, SettingsError, StateError
from flowverdict.core.formatting import isoformat
from flowverdict.delivery.slack_bot import API, SlackBot, is_api_address, is_bot_token
from flowverdict.delivery.slack_buttons import Act, Answer, Button, button_of, send
from flowverdict.delivery.slack_modal import refusal_of, view_of
from flowverdict.lifecycle.alert_lines import lines_of, rows
from flowverdict.lifecycle.dynamodb import SILENCES, DynamoDbStore
from flowverdict.lifecycle.history import What
from flowverdict.lifecycle.on_call import MAX_REASON, reason_from
from flowverdict.lifecycle.on_call_commits import OnCall, Person

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowverdict.app.slack_request import Press
    from flowverdict.lifecycle.on_call import Silences
    from flowverdict.lifecycle.state_machine import AlertState

SECRET: Final = "SLACK_SIGNING_SECRET"  # noqa: S105 - the variable's name
TOKEN: Final = "SLACK_TOKEN"  # noqa: S105 - the variable's name
_SIGNING_SECRET = re.compile(r"[A-Za-z0-9]{16,128}")
_SPANS = {Act.SILENCE_HOUR: 3_600, Act.SILENCE_DAY: 86_400}
# Slack waits three seconds for everything.
_CLIENT_CONFIG = Config(
    connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 2}
)


class PressStore(Protocol):
    """What the function needs of the store of alerts beside what ``OnCall`` does."""

    def load(self, fingerprints: tuple[str, ...]) -> Mapping[str, AlertState]:
        """Return the states that exist, by fingerprint."""

    def load_silences(self) -> Silences:
        """Return the silences of people on call."""

    def is_new_request(self, name: str, signed_at: int) -> bool:
        """Record a request; return whether it was not recorded before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackActions:
    """Answers HTTP requests of the function's URL.

    Parameters
    ----------
    open_view
        Opens a modal with a ``trigger_id``; ``None`` without a bot token. It raises
        ``DeliveryError`` or ``SettingsError`` if that was not possible.
    """

    store: PressStore
    on_call: OnCall
    secret: Callable[[], str]
    observability: Observability
    open_view: Callable[[str, Mapping[str, object]], None] | None = None

    def handle(self, event: dict[str, Any], _seconds: float) -> dict[str, Any]:
        """Do what the pressed button says; return the HTTP answer.

        Raises
        ------
        EnvelopeError
            The event is not that of a function URL.
        SettingsError, DeliveryError
            The signing secret is empty or cannot be read.
        StateError
            The alert table cannot be reached.
        """
        try:
            press = self._new_press(event)
        except RefusedError as refused:
            self.observability.note(LogCount.REQUESTS_REFUSED)
            self.observability.logger.info("request refused", extra={"reason": str(refused)})
            return _answer(refused.status, str(refused))
        problem = self._press(press)
        if problem is not None and press.submitted is not None:
            return _refusal(problem)
        return _answer(HTTPStatus.OK, "")

    def _new_press(self, event: dict[str, Any]) -> Press:
        request = signed_request(event, self.secret, time.time())
        press = press_of(request.body)
        if not self.store.is_new_request(request.name, request.signed_at):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "delivered before")
        return press

    def _press(self, press: Press) -> str | None:
        """Do what was pressed and answer; return why nothing was changed, or ``None``."""
        button, problem = button_of(press.action_id), None
        answer: Answer | None
        if button is None or (press.submitted is not None and button.act not in _SPANS):
            answer = Answer(text="This button is not flowverdict's, or of another version of it.")
        else:
            self.observability.note(LogCount.BUTTONS_PRESSED)
            about = {"fingerprint": button.fingerprint, "act": button.act, "by": press.by}
            self.observability.logger.info("button pressed", extra=about)
            try:
                answer = self._do(button, press, int(time.time()))
            except ValueError as error:  # for the person
                problem = f"Nothing was changed: {error}."
                # A submitted modal stays open and shows that itself.
                answer = None if press.submitted is not None else Answer(text=problem)
        if answer is not None:
            self._send(answer, press)
        return problem

    def _send(self, answer: Answer, press: Press) -> None:
        if press.answers_to is None:
            self.observability.logger.warning("no address of Slack's for the answer")
            return
        try:
            send(answer, press.answers_to)
        except DeliveryError as error:  # what was asked is done
            self.observability.logger.warning("answer not sent", extra={"reason": str(error)})

    def _do(self, button: Button, press: Press, now: int) -> Answer | None:
        """Do what a button says; return the answer, or ``None`` where a modal was opened."""
        state = self.store.load((button.fingerprint,)).get(button.fingerprint)
        if state is None:
            raise ValueError(f"no alert {button.fingerprint} is stored in this stack")
        by, title = press.by, state.notification.title
        person = Person(by=by, reason=f"from Slack by {by}", now=now)
        if button.act is Act.EXPECTED:
            return self._entry(state, person)
        if button.act is Act.EVIDENCE:
            return self._evidence(state, person)
        if not state.is_open:
            raise ValueError(f"the problem has ended ({title})")
        if button.act is Act.ACKNOWLEDGE:
            self.on_call.acknowledge(button.fingerprint, person)
            return Answer(
                text=f"Acknowledged by {by}: {title}\nNo reminders until it ends; that it gets "
                "worse, and its end, are still told.",
                for_all=True,
            )
        if press.submitted is not None:
            person = replace(person, reason=reason_from(press.submitted))
            return self._silence(button, person, f"{title}\nWhy: {person.reason}")
        if self._asks_why(button, press, title):
            return None
        return self._silence(button, person, title)

    def _asks_why(self, button: Button, press: Press, title: str) -> bool:
        """Open the modal that asks for the reason; return whether it is open."""
        if self.open_view is None or press.trigger_id is None:
            return False
        view = view_of(button, title, press.answers_to, MAX_REASON)
        try:
            self.open_view(press.trigger_id, view)
        except (DeliveryError, SettingsError) as error:
            about = {"reason": str(error)}
            self.observability.logger.warning("not asked why, silenced at once", extra=about)
            return False
        return True

    def _silence(self, button: Button, person: Person, about: str) -> Answer:
        asked = {Key.FINGERPRINT: (button.fingerprint,)}
        silence = self.on_call.silence(asked, person.now + _SPANS[button.act], person)
        return Answer(
            text=f"Silenced until {isoformat(silence.until)} by {person.by}: {about}\n"
            f"To lift it: flowverdict alerts unsilence {silence.silence_id}",
            for_all=True,
        )

    def _entry(self, state: AlertState, person: Person) -> Answer:
        alert = state.notification
        if not isinstance(alert, Alert):
            raise ValueError("a notice has no policy entry, since the policy mutes rejected flows")  # noqa: TRY004 - for the person
        self.on_call.note(state.fingerprint, What.ENTRY_SHOWN, person)
        entry = json.dumps(policy_entry(alert, "wanted: say why, for whoever reads this later"))
        return Answer(
            text=f'{alert.title}\nNothing is muted yet. Add this to "expected" of the policy '
            "document, try it with flowverdict policy check, and deploy it as you do today:",
            lines=(entry,),
        )

    def _evidence(self, state: AlertState, person: Person) -> Answer:
        noted = self.on_call.note(state.fingerprint, What.EVIDENCE_SHOWN, person)
        (row,) = rows([noted], self.store.load_silences(), person.now)
        return Answer(text=noted.notification.title, lines=tuple(lines_of(row)))


def _answer(status: HTTPStatus, text: str) -> dict[str, Any]:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = "POST"
    return {"statusCode": status.value, "headers": headers, "body": text}


def _refusal(problem: str) -> dict[str, Any]:
    """Return the answer that keeps a modal open."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    body = json.dumps(refusal_of(problem))
    return {"statusCode": HTTPStatus.OK.value, "headers": headers, "body": body}


def _opener(
    environment: Mapping[str, str],
) -> Callable[[str, Mapping[str, object]], None] | None:
    """Return what opens modals; ``None`` without a bot token."""
    if not environment.get(TOKEN):
        return None
    reference = SecretReference.from_environment(environment, TOKEN)
    api = environment.get("SLACK_API") or API
    if not is_api_address(api):
        raise SettingsError("SLACK_API: a Slack token is sent to Slack alone")
    token = StoredSecret(
        reference,
        is_right=is_bot_token,
        what="a bot token (xoxb-...) that does not expire",
        config=_CLIENT_CONFIG,
    )
    return lambda trigger_id, view: SlackBot(token.read(), api=api, is_quick=True).open_view(
        trigger_id, view
    )


def slack_actions(environment: Mapping[str, str]) -> Callable[[dict[str, Any], Any], Any]:
    """Build the function; raises ``SettingsError`` for a wrong environment."""
    reference = SecretReference.from_environment(environment, SECRET)
    observability = Observability("slack_actions")

    def unreadable(key: str, reason: str) -> None:
        observability.state_unreadable(key, reason)
        if key == SILENCES:  # as the command: what cannot be read is not written over
            raise StateError(f"{key} cannot be read by this version: {reason}")

    store = DynamoDbStore(
        boto3.client("dynamodb", config=_CLIENT_CONFIG),
        alert_table(environment),
        on_unreadable=unreadable,
    )
    secret = StoredSecret(
        reference,
        is_right=lambda text: _SIGNING_SECRET.fullmatch(text) is not None,
        what="a Slack app's signing secret",
        config=_CLIENT_CONFIG,
    )
    return observability.wrap(
        SlackActions(
            store=store,
            on_call=OnCall(store, intervals(environment)),
            secret=secret.read,
            observability=observability,
            open_view=_opener(environment),
        ).handle
    )
