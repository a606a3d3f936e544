"""What the settings alone say."""

import re
from typing import Final

from service.doctor.checks import Case, Verdict, fail, ok, warn
from service.settings import Settings

_HOST: Final = re.compile(r"(?=.{1,253}$)([a-z0-9-]+\.)+[a-z0-9-]+")


async def check_settings(case: Case) -> Verdict:
    """Every problem at once, in one line."""
    if case.problems:
        named = "; ".join(f"{each.setting} {each.message}" for each in case.problems)
        return fail(named, "see .env.example, which says what each is for")
    return ok(f"all there, for {case.settings.environment}")


async def check_account(case: Case) -> Verdict:
    if case.settings.fal_user_id is None:
        return warn(
            "FAL_USER_ID is not set, so what fal signs for other customers is believed as well",
            "set it to the account's user id; the first delivery shows it (deliveries, below)",
        )
    return ok(f"deliveries have to be signed for {case.settings.fal_user_id}")


async def check_operators(case: Case) -> Verdict:
    tokens = {"OPS_TOKEN": case.settings.ops_token, "METRICS_TOKEN": case.settings.metrics_token}
    lacking = [name for name, token in tokens.items() if token is None]
    if not lacking:
        return ok("/ops and /metrics have their tokens")
    without = {"OPS_TOKEN": "no page for operators", "METRICS_TOKEN": "no metrics in production"}
    return warn(
        "; ".join(f"{name} is not set: {without[name]}" for name in lacking),
        "set it to 32 random characters or more",
    )


async def check_result_hosts(case: Case) -> Verdict:
    """Where rendered videos may be fetched from."""
    settings = case.settings
    wrong = [host for host in settings.result_hosts if not _is_host(host, settings)]
    if wrong or not settings.result_hosts:
        named = ", ".join(map(repr, wrong)) or "nothing"
        return fail(
            f"FAL_RESULT_HOSTS has {named}, where names such as fal.media belong",
            "set it to the host names of fal's files, with commas between",
        )
    return ok(", ".join(settings.result_hosts))


def _is_host(name: str, settings: Settings) -> bool:
    return bool(_HOST.fullmatch(name)) or (settings.development and name == "localhost")
