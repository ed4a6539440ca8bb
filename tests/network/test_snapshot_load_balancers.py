"""Load balancers of a snapshot: the forms of target health and attributes, and AWS's defaults."""

from __future__ import annotations

import pytest

from flowverdict.network.load_balancers import Target, TargetGroup
from flowverdict.network.parse_load_balancers import preserves_by_default
from flowverdict.network.snapshot import parse_snapshot
from tests.helpers.whole_snapshot import LOAD_BALANCER, TARGET_GROUP, TARGET_GROUP_ARN

API_ARN = "arn:aws:elasticloadbalancing:eu-west-1:111111111111:targetgroup/api/0011223344556677"
ON = {"Key": "preserve_client_ip.enabled", "Value": "true"}
OFF = {"Key": "preserve_client_ip.enabled", "Value": "false"}
OTHER = {"Key": "deregistration_delay.timeout_seconds", "Value": "300"}


def health(target_id: str, port: int) -> dict[str, object]:
    return {"Target": {"Id": target_id, "Port": port}, "TargetHealth": {"State": "healthy"}}


WEB, API = [health("i-1", 443), health("i-2", 443)], [health("10.0.1.9", 8080)]
FORMS: dict[str, object] = {
    "object of lists": {TARGET_GROUP_ARN: WEB, API_ARN: API},
    "object of answers": {
        TARGET_GROUP_ARN: {"TargetHealthDescriptions": WEB},
        API_ARN: {"TargetHealthDescriptions": API},
    },
    "list of answers": [
        {"TargetGroupArn": TARGET_GROUP_ARN, "TargetHealthDescriptions": WEB},
        {"TargetGroupArn": API_ARN, "TargetHealthDescriptions": API},
    ],
    "list of elements": [
        *({"TargetGroupArn": TARGET_GROUP_ARN} | element for element in WEB),
        *({"TargetGroupArn": API_ARN} | element for element in API),
    ],
    "some elements twice": [
        {"TargetGroupArn": TARGET_GROUP_ARN, "TargetHealthDescriptions": WEB},
        {"TargetGroupArn": TARGET_GROUP_ARN} | WEB[0],
        {"TargetGroupArn": API_ARN} | API[0],
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_target_health_gives_the_same_targets(form: str) -> None:
    config = parse_snapshot({"TargetHealthDescriptions": FORMS[form]})
    assert config.notes == ()
    assert config.targets == (
        Target(target_group_arn=TARGET_GROUP_ARN, target_id="i-1", port=443),
        Target(target_group_arn=TARGET_GROUP_ARN, target_id="i-2", port=443),
        Target(target_group_arn=API_ARN, target_id="10.0.1.9", port=8080),
    )


def test_no_targets_are_known_to_be_none_and_no_list_is_not_known() -> None:
    assert parse_snapshot({"TargetHealthDescriptions": {}}).targets == ()
    assert parse_snapshot({"TargetHealthDescriptions": {API_ARN: []}}).targets == ()
    assert parse_snapshot({"TargetHealthDescriptions": None}).targets is None


def test_a_bad_target_is_named_and_skipped() -> None:
    config = parse_snapshot(
        {
            "TargetHealthDescriptions": [
                {"TargetGroupArn": API_ARN, "TargetHealthDescriptions": [{}, *API, 5]},
                WEB[0],
                "i-1",
                {"TargetGroupArn": API_ARN, "Target": {"Id": "--x"}},
            ]
        }
    )
    assert config.targets == (Target(target_group_arn=API_ARN, target_id="10.0.1.9", port=8080),)
    assert config.incomplete == {"targets"}
    key = "TargetHealthDescriptions"
    assert [note.partition(";")[0] for note in config.notes] == [
        f"{key}[0].{key}[0].Target: is missing",
        f"{key}[0].{key}[2]: 5 is not an object",
        f"{key}[1].TargetGroupArn: is missing",
        f"{key}[2]: 'i-1' is not an object",
        f"{key}[3].Target.Id: '--x' is not an id",
    ]
    by_arn = parse_snapshot({key: {API_ARN: {key: 7}}})
    assert by_arn.notes[0].startswith(f"{key}['{API_ARN[:20]}")
    assert by_arn.notes[0].endswith("is not known")


# --- client addresses -------------------------------------------------------------------------


def group(element: dict[str, object], **more: object) -> TargetGroup:
    config = parse_snapshot({"TargetGroups": [TARGET_GROUP | element], **more})
    (read,) = config.target_groups or ()
    return read


@pytest.mark.parametrize(
    ("target_type", "protocol", "preserved"),
    [
        ("instance", "TCP", True),
        ("instance", "TLS", True),
        ("instance", "UDP", True),
        ("instance", "TCP_UDP", True),
        ("ip", "TCP", None),  # off by default, but it can be on
        ("ip", "TLS", None),
        ("ip", "UDP", True),
        ("ip", "TCP_UDP", True),
        ("ip", "QUIC", True),
        ("ip", "TCP_QUIC", True),
        ("alb", "TCP", True),
        ("instance", "HTTP", False),
        ("ip", "HTTPS", False),
        ("lambda", None, None),
        ("ip", "GENEVE", None),
        ("satellite", "TCP", None),
        ("ip", "TCP_OF_TOMORROW", None),
        (None, "TCP", None),
        (None, None, None),
    ],
)
def test_without_attributes_aws_s_default_counts(
    target_type: str | None, protocol: str | None, *, preserved: bool | None
) -> None:
    assert preserves_by_default(target_type, protocol) is preserved
    element: dict[str, object] = {"TargetType": target_type, "Protocol": protocol}
    assert group(element).preserve_client_ip is preserved
    assert group(element | {"Attributes": [OTHER]}).preserve_client_ip is preserved
    told = {"TargetGroupAttributes": {TARGET_GROUP_ARN: [OTHER]}}
    assert group(element, **told).preserve_client_ip is preserved


@pytest.mark.parametrize(("attribute", "preserved"), [(ON, True), (OFF, False)])
@pytest.mark.parametrize("target_type", ["instance", "ip"])
def test_an_attribute_counts_before_the_default(
    attribute: dict[str, str], target_type: str, *, preserved: bool
) -> None:
    element: dict[str, object] = {"TargetType": target_type}
    told = [OTHER, attribute]
    forms: tuple[object, ...] = (
        {TARGET_GROUP_ARN: told},
        {TARGET_GROUP_ARN: {"Attributes": told}},
        [{"TargetGroupArn": TARGET_GROUP_ARN, "Attributes": told}],
    )
    assert group(element | {"Attributes": told}).preserve_client_ip is preserved
    for form in forms:
        assert group(element, TargetGroupAttributes=form).preserve_client_ip is preserved
    elsewhere = {"TargetGroupAttributes": {API_ARN: told}}
    assert group(element, **elsewhere).preserve_client_ip is (
        True if target_type == "instance" else None
    )


@pytest.mark.parametrize(
    "told",
    [
        {TARGET_GROUP_ARN: [{"Key": "preserve_client_ip.enabled", "Value": True}]},
        {TARGET_GROUP_ARN: [{"Key": "preserve_client_ip.enabled", "Value": "perhaps"}]},
        {TARGET_GROUP_ARN: "true"},
        [{"TargetGroupArn": TARGET_GROUP_ARN, "Attributes": [None]}],
        [
            {"TargetGroupArn": TARGET_GROUP_ARN, "Attributes": [ON]},
            {"TargetGroupArn": TARGET_GROUP_ARN, "Attributes": [OFF]},
            {"TargetGroupArn": TARGET_GROUP_ARN, "Attributes": [ON]},
        ],
    ],
)
def test_attributes_that_do_not_tell_leave_it_open(told: object) -> None:
    assert group({}, TargetGroupAttributes=told).preserve_client_ip is None


def test_a_load_balancer_without_a_list_of_groups_is_read() -> None:
    bare = {key: value for key, value in LOAD_BALANCER.items() if key != "SecurityGroups"}
    (read,) = parse_snapshot({"LoadBalancers": [bare]}).load_balancers or ()
    assert read.group_ids is None


def test_bad_load_balancers_and_target_groups_are_skipped() -> None:
    config = parse_snapshot(
        {
            "LoadBalancers": [LOAD_BALANCER, LOAD_BALANCER | {"LoadBalancerArn": None}],
            "TargetGroups": [
                TARGET_GROUP | {"LoadBalancerArns": ["$(x)"]},
                TARGET_GROUP | {"TargetGroupArn": API_ARN, "Port": "443"},
            ],
        }
    )
    assert len(config.load_balancers or ()) == 1
    assert config.target_groups == ()
    assert config.incomplete == {"load_balancers", "target_groups"}
    assert [note.partition(";")[0] for note in config.notes] == [
        "LoadBalancers[1].LoadBalancerArn: is missing",
        "TargetGroups[0].LoadBalancerArns[0]: '$(x)' is not an id",
        "TargetGroups[1].Port: '443' is not a whole number",
    ]
