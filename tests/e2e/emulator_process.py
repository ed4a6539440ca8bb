"""Run ministack in an environment of its own.

``emulator.py`` starts this file, which imports no module of the project.

ministack refuses templates with resource types that it does not know. The types below stand in
templates like this project's, and no other resource depends on what they do. So this process
accepts them and stores their properties as files, which tests read.
The process also corrects ministack where ministack refuses what AWS allows, restricts it to its
one port, speeds up one schedule so that a test can wait for it, and unpacks layers once.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import inspect
import json
import os
import select
import signal
import sys
import tempfile
import termios
import threading
import time
import zipfile
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

# No test can wait for minutes. A rule with this rate fires once, two seconds after it was made, so
# that a test knows when nothing of it is on its way any more; all other rates are as on AWS.
HURRIED_RATE = "rate(60 minutes)"
HURRIED_SECONDS = 2

KEPT_TYPES = ("AWS::EC2::FlowLog", "AWS::Logs::QueryDefinition", "AWS::CloudWatch::CompositeAlarm")


def _register(handlers: dict[str, Any], kind: str, folder: Path) -> None:
    def create(
        logical_id: str, properties: dict[str, Any], stack_name: str
    ) -> tuple[str, dict[str, str]]:
        # Always the same id: an update calls this again, and references to the resource must still
        # find it.
        physical_id = f"{stack_name}-{logical_id}"
        if kind == "AWS::EC2::FlowLog":
            _refuse_second_flow_log(properties, folder)
        kept = {
            "type": kind,
            "logical_id": logical_id,
            "stack_name": stack_name,
            "properties": properties,
        }
        (folder / f"{physical_id}.json").write_text(json.dumps(kept, default=str))
        return physical_id, {
            "Id": physical_id,
            "Arn": f"arn:aws:emulated:::{physical_id}",
            "QueryDefinitionId": physical_id,
        }

    def delete(physical_id: str, _properties: dict[str, Any]) -> None:
        (folder / f"{physical_id}.json").unlink(missing_ok=True)

    handlers[kind] = {"create": create, "delete": delete}


def _keep_metric_math(provisioners: Any) -> None:  # noqa: ANN401 - a module of ministack's, which has no types
    # ministack refuses alarms on an expression: it keeps them with the first of their metrics. No
    # test asks it for their state.
    original = provisioners._cw_metric_alarm_record  # noqa: SLF001 - no public way

    def record(name: str, properties: dict[str, Any]) -> Any:  # noqa: ANN401 - ministack's
        stats = [
            part["MetricStat"]
            for part in properties.get("Metrics") or ()
            if isinstance(part, dict) and "MetricStat" in part
        ]
        if stats:
            simple = {"Period": stats[0]["Period"], "Statistic": stats[0]["Stat"]}
            properties = {**properties, **stats[0]["Metric"], **simple, "Metrics": None}
        return original(name, properties)

    provisioners._cw_metric_alarm_record = record  # noqa: SLF001 - as above


def _keep_decisions(evaluator: Any, file: Path) -> None:  # noqa: ANN401 - a module of ministack's, which has no types
    # Which calls a function makes with its role is what its permissions are for. The root user is
    # not evaluated.
    original = evaluator.evaluate
    lock = threading.Lock()

    def evaluate(context: Any, *policies: Any) -> Any:  # noqa: ANN401 - handed through
        result = original(context, *policies)
        line = {
            "principal": context.principal_arn,
            "action": context.action,
            "resource": context.resource_arn,
            "decision": result.decision,
        }
        with lock, file.open("a") as decisions:
            decisions.write(f"{json.dumps(line)}\n")
        return result

    evaluator.evaluate = evaluate


def _refuse_second_flow_log(properties: dict[str, Any], folder: Path) -> None:
    # CloudFormation replaces a changed flow log by making the new one first, which EC2 refuses as
    # long as the old one has the same resource, traffic and destination (FlowLogAlreadyExists:
    # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html).
    same = ("ResourceId", "TrafficType", "LogDestination", "LogGroupName")
    for path in folder.glob("*.json"):
        kept = json.loads(path.read_text())
        other = kept["properties"]
        if (
            kept["type"] == "AWS::EC2::FlowLog"
            and other != json.loads(json.dumps(properties, default=str))
            and all(other.get(name) == properties.get(name) for name in same)
        ):
            raise ValueError(
                "Error. There is an existing Flow Log with the same configuration and log "
                "destination. (FlowLogAlreadyExists)"
            )


def _name_prefix_lists(actions: Any) -> None:  # noqa: ANN401 - a module of ministack's, which has no types
    # ministack checks ec2:GetManagedPrefixListEntries against the resource "*", which no narrower
    # statement allows. AWS checks the prefix list:
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html#amazonec2-prefix-list
    original = actions.extract_resource_arn

    def extract(service: str, *rest: Any) -> str:  # noqa: ANN401 - handed through
        _method, _path, _headers, _body, parameters, region, account_id = rest
        value = parameters.get("PrefixListId") if service == "ec2" else None
        if not value:
            return str(original(service, *rest))
        prefix_list_id = value[0] if isinstance(value, list) else value
        return f"arn:aws:ec2:{region}:{account_id}:prefix-list/{prefix_list_id}"

    actions.extract_resource_arn = extract


def _close_topics(provisioners: Any) -> None:  # noqa: ANN401 - as above
    # ministack's default topic policy lets every account publish. AWS's has a condition that only
    # the owner meets:
    # https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html
    handler = provisioners._RESOURCE_HANDLERS["AWS::SNS::Topic"]  # noqa: SLF001 - no public way
    create = handler["create"]

    def create_closed(
        logical_id: str, properties: dict[str, Any], stack_name: str
    ) -> tuple[str, dict[str, str]]:
        physical_id, attributes = create(logical_id, properties, stack_name)
        topic = provisioners._sns._topics[physical_id]["attributes"]  # noqa: SLF001 - as above
        policy = json.loads(topic["Policy"])
        for statement in policy["Statement"]:
            statement["Condition"] = {"StringEquals": {"AWS:SourceOwner": topic["Owner"]}}
        topic["Policy"] = json.dumps(policy)
        return physical_id, attributes

    handler["create"] = create_closed


def _know_batches(iam_actions: Any) -> None:  # noqa: ANN401 - as above
    # SQS lets whoever may do an action do it in a batch, and IAM has no action of a batch:
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
    original = iam_actions.extract_iam_action

    def extract(service: str, *request: Any, **rest: Any) -> Any:  # noqa: ANN401 - handed through
        action = original(service, *request, **rest)
        return action.removesuffix("Batch") if service == "sqs" and action else action

    iam_actions.extract_iam_action = extract


def _read_numbers(provisioners: Any) -> None:  # noqa: ANN401 - as above
    # A number in a parameter reaches ministack as text. CloudFormation converts it to the type of
    # the property. ministack's poller would fail to compare the text, once a second, and never
    # invoke the function.
    handler = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]  # noqa: SLF001 - no public way
    create = handler["create"]

    def create_with_numbers(logical_id: str, properties: dict[str, Any], stack_name: str) -> Any:  # noqa: ANN401 - handed through
        scaling = {name: int(value) for name, value in properties.get("ScalingConfig", {}).items()}
        return create(
            logical_id, properties | ({"ScalingConfig": scaling} if scaling else {}), stack_name
        )

    handler["create"] = create_with_numbers


def _resolve_in_conditions(engine: Any) -> None:  # noqa: ANN401 - as above
    # In conditions ministack evaluates Ref and Select only. CloudFormation evaluates these too.
    functions = {"Fn::FindInMap", "Fn::Join", "Fn::Select", "Fn::Split", "Fn::Sub"}
    original = engine._evaluate_conditions  # noqa: SLF001 - no public way

    def evaluate(template: dict[str, Any], parameters: dict[str, Any]) -> dict[str, bool]:
        def resolved(value: Any) -> Any:  # noqa: ANN401 - any piece of a template
            if isinstance(value, dict) and not functions.isdisjoint(value):
                return engine._resolve_refs(  # noqa: SLF001 - as above
                    value, {}, parameters, {}, template.get("Mappings", {}), "", ""
                )
            if isinstance(value, dict):
                return {name: resolved(part) for name, part in value.items()}
            return [resolved(part) for part in value] if isinstance(value, list) else value

        found: dict[str, bool] = original(
            template | {"Conditions": resolved(template.get("Conditions", {}))}, parameters
        )
        return found

    # Other modules of ministack have imported the function by name.
    for name, module in list(sys.modules.items()):
        if name.startswith("ministack.services.cloudformation") and hasattr(
            module, "_evaluate_conditions"
        ):
            module._evaluate_conditions = evaluate  # type: ignore[attr-defined]  # noqa: SLF001 - as above


class _Lambda:
    """The Lambda module of ministack as its SNS should call it.

    The call is asynchronous, as on AWS, with retries and a destination for failures.
    """

    def __init__(self, module: Any) -> None:  # noqa: ANN401 - as above
        self._module = module

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        return getattr(self._module, name)

    def _execute_function_with_config_scope(
        self, function: dict[str, Any], event: dict[str, Any]
    ) -> None:
        self._module.invoke_async_with_retry(function, event)


def _retry_log_events(logs: Any) -> None:  # noqa: ANN401 - as above
    # ministack passes the log events of a subscription filter to the function once. CloudWatch Logs
    # invokes the function asynchronously, with retries and a destination for failures. The name of
    # the call is inside a function, so that function is compiled again with the other name.
    before, after = (
        "target=lambda_svc._execute_function_with_config_scope",
        "target=lambda_svc.invoke_async_with_retry",
    )
    source = inspect.getsource(logs._fanout_to_subscription_filters)  # noqa: SLF001 - no public way
    if source.count(before) != 1:
        raise LookupError(f"ministack's CloudWatch Logs has {source.count(before)} times {before}")
    exec(source.replace(before, after), logs.__dict__)  # noqa: S102 - ministack's own code


def _hurry_one_rate(events: Any) -> None:  # noqa: ANN401 - as above
    original = events._parse_rate_seconds  # noqa: SLF001 - no public way

    def parse(expression: str) -> int | None:
        seconds: int | None = (
            HURRIED_SECONDS if expression == HURRIED_RATE else original(expression)
        )
        return seconds

    events._parse_rate_seconds = parse  # noqa: SLF001 - as above
    invoke, fired = events._invoke_target, set[tuple[object, object]]()  # noqa: SLF001 - as above

    def invoke_once(target: Any, event: Any, rule: dict[str, Any], view: Any) -> None:  # noqa: ANN401 - handed through
        made = (rule.get("Arn"), rule.get("CreationTime"))
        if rule.get("ScheduleExpression") == HURRIED_RATE:
            if made in fired:
                return
            fired.add(made)
        invoke(target, event, rule, view)

    events._invoke_target = invoke_once  # noqa: SLF001 - as above
    # Seconds between ministack's looks at all schedules; 10 by default.
    events._SCHEDULER_TICK_INTERVAL = 1  # noqa: SLF001 - no public way


class _UnpackedOnce(zipfile.ZipFile):
    """A zip of a function or layer, which each worker gets as links to one unpacked copy."""

    folder: Path
    _unpacking = threading.Lock()  # of all instances; ``_lock`` is each ZipFile's own

    def extractall(self, path: Any = None, *_: Any, **__: Any) -> None:  # noqa: ANN401 - zipfile's
        content = hashlib.sha256(Path(str(self.filename)).read_bytes())
        unpacked = self.folder / content.hexdigest()
        with self._unpacking:
            if not unpacked.is_dir():
                part = unpacked.with_suffix(".part")
                super().extractall(part, super().namelist())
                part.rename(unpacked)
        for entry in unpacked.iterdir():
            (Path(path) / entry.name).symlink_to(entry)

    def namelist(self) -> list[str]:
        """Return no name: ministack resolves each path of all these files before it unpacks."""
        return []


def _unpack_once(workers: Any) -> None:  # noqa: ANN401 - as above
    # ministack unpacks all layers for each worker that it starts, which takes seconds of a core and
    # hundreds of megabytes of the disk.
    _UnpackedOnce.folder = Path(tempfile.mkdtemp(prefix="unpacked-"))
    workers.zipfile = SimpleNamespace(**vars(zipfile) | {"ZipFile": _UnpackedOnce})


class _EveryLine:
    """What a worker of ministack lacks: no line that a function has logged is lost.

    ministack takes a worker's log as complete after 5 ms without a line, and loses the rest with
    the worker. CloudWatch Logs has all lines.
    """

    _proc: Any = None
    _stderr_queue: Any
    _stderr_thread: Any = None

    def __init__(self, *positional: Any, **named: Any) -> None:  # noqa: ANN401 - handed through
        super().__init__(*positional, **named)
        self._moving = threading.Lock()  # held while lines go from the pipe into the queue

    def _read_stderr(self) -> None:
        stream = self._proc.stderr  # referred to, so that its descriptor stays open
        pipe, rest = stream.fileno(), b""
        while True:
            select.select([pipe], [], [])
            with self._moving:
                read = os.read(pipe, 65_536)
                *lines, rest = (rest + read).split(b"\n")
                for line in lines if read else [*lines, rest]:
                    self._stderr_queue.put(line.decode(errors="replace"))
            if not read:
                return

    def _drain_stderr(self) -> Any:  # noqa: ANN401 - ministack's own
        if self._proc is None or self._proc.poll() is not None:
            if self._stderr_thread is not None:
                self._stderr_thread.join(1)  # ends with the process
            return self._lines()
        # The worker wrote its lines before its answer: they are in the pipe or in the queue.
        unread = bytearray(4)
        while self._stderr_thread.is_alive():
            with self._moving:
                fcntl.ioctl(self._proc.stderr, termios.FIONREAD, unread)
                if not any(unread):
                    break
            time.sleep(0.001)
        return self._lines()

    def _lines(self) -> str:
        lines = [self._stderr_queue.get_nowait() for _ in range(self._stderr_queue.qsize())]
        return "\n".join(filter(None, lines))

    def _drain_stderr_bounded(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401 - ministack's own
        return self._drain_stderr()

    def _spawn(self) -> None:
        left = self._drain_stderr()
        try:
            super()._spawn()  # type: ignore[misc]
        finally:  # the new process may be killed while it starts
            for line in left.splitlines():
                self._stderr_queue.put(line)


def _let_workers_be_killed(workers: Any) -> None:  # noqa: ANN401 - as above
    # If a worker is killed while it starts, ministack ends all other workers of its function, and
    # workers that start at that time fail too. Lambda loses one execution environment only.
    base: Any = workers.Worker

    class Worker(_EveryLine, base):  # type: ignore[misc]
        def invoke(self, *positional: Any, **named: Any) -> Any:  # noqa: ANN401 - handed through
            try:
                return super().invoke(*positional, **named)
            except (OSError, RuntimeError) as error:
                if self._proc is not None:
                    self._proc.kill()
                    self._proc.wait()
                self._proc = None
                return {"status": "error", "error": str(error), "log": self._drain_stderr()}

    workers.Worker = Worker


def _say_which_failed(functions: Any) -> None:  # noqa: ANN401 - as above
    # AWS names a failed invocation in its log by its id. In ministack's log it cannot be told from
    # lines of the function, or has none.
    emit = functions._emit_lambda_logs  # noqa: SLF001 - no public way

    def emit_failure(
        function: Any,  # noqa: ANN401 - as above
        request_id: str,
        log: str,
        error: bool,  # noqa: FBT001 - ministack's own
        duration: int,
        **named: Any,  # noqa: ANN401 - as above
    ) -> None:
        if error:
            log = "\n".join(filter(None, (log, f"RequestId: {request_id} Error: failed")))
        emit(function, request_id, log, error, duration, **named)

    functions._emit_lambda_logs = emit_failure  # noqa: SLF001 - as above


def _place_load_balancers(balancers: Any, ec2: Any) -> None:  # noqa: ANN401 - as above
    # Load balancers of ministack are in no VPC. AWS's are in that of their subnets, with an
    # interface in each subnet.
    create = balancers._ACTION_MAP["CreateLoadBalancer"]  # noqa: SLF001 - no public way

    def create_in_vpc(parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - handed through
        known, answer = {*balancers._lbs}, create(parameters)  # noqa: SLF001 - as above
        for arn in {*balancers._lbs} - known:  # noqa: SLF001 - as above
            balancer = balancers._lbs[arn]  # noqa: SLF001 - as above
            for subnet_id in balancer["Subnets"]:
                interfaces = ec2._network_interfaces  # noqa: SLF001 - as above
                before = {*interfaces}
                ec2._create_network_interface(  # noqa: SLF001 - as above
                    {
                        "SubnetId": [subnet_id],
                        "Description": [f"ELB {arn.partition(':loadbalancer/')[2]}"],
                    }
                )
                (made,) = {*interfaces} - before
                interfaces[made]["InterfaceType"] = f"{balancer['Type']}_load_balancer"
                balancer["VpcId"] = interfaces[made]["VpcId"]
        return answer

    balancers._ACTION_MAP["CreateLoadBalancer"] = create_in_vpc  # noqa: SLF001 - as above


def _end_with_parent() -> None:
    # The parent holds the other end of this pipe and writes nothing: the read returns when the
    # parent ends, whatever the cause.
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _run() -> None:
    # ministack derives its loader of templates from this one, which is written in Python.
    yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[misc, assignment]
    provisioners = importlib.import_module("ministack.services.cloudformation.provisioners")
    for kind in KEPT_TYPES:
        _register(provisioners._RESOURCE_HANDLERS, kind, Path(os.environ["KEPT_RESOURCES_DIR"]))  # noqa: SLF001 - no public way
    _keep_metric_math(provisioners)
    _close_topics(provisioners)
    _read_numbers(provisioners)
    _know_batches(import_module("ministack.core.iam_actions"))
    topics: Any = importlib.import_module("ministack.services.sns")
    topics._lambda_svc = _Lambda(topics._lambda_svc)  # noqa: SLF001 - as above
    _retry_log_events(importlib.import_module("ministack.services.cloudwatch_logs"))
    _resolve_in_conditions(importlib.import_module("ministack.services.cloudformation.engine"))
    _hurry_one_rate(importlib.import_module("ministack.services.eventbridge"))
    _let_workers_be_killed(importlib.import_module("ministack.core.lambda_runtime"))
    _unpack_once(importlib.import_module("ministack.core.lambda_runtime"))
    _say_which_failed(importlib.import_module("ministack.services.lambda_svc"))
    _keep_decisions(
        importlib.import_module("ministack.core.iam_evaluator"), Path(os.environ["DECISIONS_FILE"])
    )
    _name_prefix_lists(importlib.import_module("ministack.core.iam_actions"))
    _place_load_balancers(
        importlib.import_module("ministack.services.alb"),
        importlib.import_module("ministack.services.ec2"),
    )
    threading.Thread(target=_end_with_parent, daemon=True).start()
    application: Any = importlib.import_module("ministack.app")
    application._port_is_bindable = lambda *_: False  # noqa: SLF001 - with TLS it would take port 443 too, if it can
    application.main()


if __name__ == "__main__":
    _run()
