"""The checks from a login node, at no cost."""

import platform
import shlex
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pipeline.budget.balance import BalanceError, read_balance
from pipeline.planning.misuse import image_problem
from pipeline.planning.plan import RunOptions
from pipeline.planning.preflight.check import (
    Check,
    called,
    failed,
    ok,
    printed,
    skipped,
    warning,
)
from pipeline.planning.preflight.files import files
from pipeline.planning.preflight.network import plugin
from pipeline.scheduler import Scheduler, SchedulerError, batch_system
from pipeline.site import Site

# The packages that a campaign's programs import, and the extra of ours that installs them.
PACKAGES = {
    "zarr": "data", "numba": "data", "uproot": "data", "h5py": "data",
    "torch": "training", "deepspeed": "training", "safetensors": "training",
    "matplotlib": "report", "scikit-learn": "report",
}  # fmt: skip


def login(site: Site, scheduler: Scheduler, root: Path, options: RunOptions) -> Iterator[Check]:
    """Yield a row for each check that needs no job."""
    yield from _accounts(site, scheduler, options)
    yield from _queues(site, options)
    yield from _modules(site)
    yield plugin(site, options.image)
    yield _balance(site, options)
    yield from files(site, root)
    yield _python(root)
    yield from _packages()
    yield _image(site, options)


def _accounts(site: Site, scheduler: Scheduler, options: RunOptions) -> Iterator[Check]:
    try:
        known = scheduler.accounts()
    except SchedulerError as error:
        yield failed("scheduler", str(error), "Run this on a login node of the site.")
        return
    if known is None:
        yield skipped("account", batch_system(site).NO_ACCOUNTS)
        return
    yield ok("scheduler", f"answers; your accounts: {', '.join(sorted(known)) or 'none'}")
    if not options.project:
        yield warning("account", "none was given", "Give the project that pays: --project")
        return
    for name in dict.fromkeys(
        site.account(options.project, role.node) for role in (site.training, site.pilot.role)
    ):
        if name in known:
            yield ok("account", name)
        else:
            yield failed(
                "account", f"{name!r} is none of yours", "Give one of yours with --project."
            )


def _queues(site: Site, options: RunOptions) -> Iterator[Check]:
    alternatives = () if options.qos else site.training.alternatives
    for name in (options.qos or site.training.qos, *alternatives):
        yield _queue(site, name) if name else skipped("queue", "none is named")


def _queue(site: Site, name: str) -> Check:
    if name not in site.qos:
        known = ", ".join(site.qos)
        return failed("queue", f"{site.name} declares no QOS {name!r}", f"--qos one of: {known}")
    queue = site.qos[name]
    system = batch_system(site)
    command = system.queue_command(partitions=bool(queue.partition))
    if not command:
        return skipped("queue", "its scheduler has no command that lists queues")
    code, words = printed(command, environment=system.environment())
    if code:
        return warning("queue", words, f"{command[0]} does not list the queues.")
    names = (queue.partition,) if queue.partition else (name, *queue.internal)
    there = [each for each in names if each in words.split()]
    if there:
        return ok("queue", ", ".join(there))
    kind = "partition" if queue.partition else "QOS"
    found = f"the scheduler knows no {kind} {names[0]!r}, only {', '.join(words.split())}"
    return warning(
        "queue",
        found,
        "If the site maps queue names, declare `internal`; otherwise choose another --qos.",
    )


def _modules(site: Site) -> Iterator[Check]:
    if not site.modules:
        yield skipped("modules", "this site needs none")
        return
    for module in site.modules:
        name = shlex.quote(module)
        code, words = printed(["bash", "-lc", f"module is-avail {name}"])
        if code == 0:
            yield ok(f"module {module}", "available")
        else:
            family = shlex.quote(module.partition("/")[0])
            yield failed(
                f"module {module}",
                words or "not available",
                f"See `module avail {family}`, and name an available one in your own site file.",
            )


def _balance(site: Site, options: RunOptions) -> Check:
    if not site.balance_command:
        return skipped("balance", f"{site.name} declares no command that prints it")
    done = called(["bash", "-lc", site.balance_command])
    if done.code:
        todo = f"`{site.balance_command}` failed: check the project's page."
        return warning("balance", done.words, todo)
    as_printed = f"{site.balance_command}:\n{done.words}"
    if site.balance_format is None or not options.project:
        return ok("balance", as_printed)
    try:
        found = read_balance(site.balance_format, done.out, options.project, site.name)
    except BalanceError as error:
        return warning("balance", as_printed, str(error))
    amount = f"{found.left:,.0f} node-hours left of {found.granted:,.0f} of {found.project}"
    if found.left <= 0:
        return warning(
            "balance", amount, "The jobs of an overdrawn project wait longest, or do not run."
        )
    return ok("balance", amount)


def _python(root: Path) -> Check:
    found = f"{platform.python_version()}, {sys.executable}"
    if Path(sys.executable).is_relative_to(Path.home()) and not root.is_relative_to(Path.home()):
        todo = "Home is slow for many nodes at once: install into the project's software folder."
        return warning("python", found, todo)
    return ok("python", found)


def _packages() -> Iterator[Check]:
    for name, part in PACKAGES.items():
        try:
            yield ok(f"package {name}", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield failed(f"package {name}", "not installed", f"pip install 'cosmotron[{part}]'")


def _image(site: Site, options: RunOptions) -> Check:
    if not options.image:
        return skipped("image", "none was given (--image)")
    problem = image_problem(site, options.image)
    if problem:
        return failed("image", problem, "See docs/containers.md.")
    return ok("image", options.image)
