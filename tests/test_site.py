import pytest

from pipeline import catalog
from pipeline.catalog import DeclarationError
from pipeline.scheduler import batch_system
from pipeline.site import Bin, NodeClass, Qos, Role, Site, cpu_numbers, load_site

LOCAL = load_site("local")


@pytest.mark.parametrize("name", catalog.names("sites"))
def test_every_site_loads_under_its_own_name(name: str) -> None:
    site = load_site(name)
    assert site.name == name
    assert (
        catalog.folder("jobs/templates")
        .joinpath(f"{site.template}.{batch_system(site).SUFFIX}.j2")
        .is_file()
    )


@pytest.mark.parametrize("name", ["perlmutter", "frontier", "polaris"])
def test_every_fact_of_a_machine_has_a_source(name: str) -> None:
    assert load_site(name).sources


@pytest.mark.parametrize(
    ("nodes", "minutes"), [(1, 120), (91, 120), (92, 360), (183, 360), (184, 720), (9472, 720)]
)
def test_frontier_grants_larger_jobs_longer_times(nodes: int, minutes: int) -> None:
    assert load_site("frontier").max_minutes(nodes, "") == minutes


def test_the_shorter_of_queue_and_bin_holds() -> None:
    assert load_site("frontier").max_minutes(184, "debug") == 120
    assert load_site("perlmutter").max_minutes(500, "regular") == 2880


def test_a_laptop_has_no_walltime() -> None:
    assert LOCAL.max_minutes(1, "") is None


def test_too_large_for_the_queue() -> None:
    with pytest.raises(DeclarationError, match=r"perlmutter: QOS 'debug' takes 8 nodes, not 9\."):
        load_site("perlmutter").max_minutes(9, "debug")


def test_too_small_for_the_queue() -> None:
    with pytest.raises(
        DeclarationError,
        match=r"QOS 'prod' takes 10 nodes at least, not 9\. Choose with --qos: debug-",
    ):
        load_site("polaris").max_minutes(9, "prod")


def test_a_queue_s_own_bins_hold() -> None:
    polaris = load_site("polaris")
    assert [polaris.max_minutes(nodes, "prod") for nodes in (10, 24, 25, 100)] == [
        180, 180, 360, 1440,
    ]  # fmt: skip
    assert polaris.max_minutes(10, "preemptable") == 4320


def test_a_partition_of_its_own_has_none_of_the_site_s_bins() -> None:
    frontier = load_site("frontier")
    assert [frontier.max_minutes(nodes, "extended") for nodes in (1, 64)] == [1440, 1440]
    with pytest.raises(DeclarationError, match=r"QOS 'extended' takes 64 nodes, not 65"):
        frontier.max_minutes(65, "extended")


def test_too_large_for_the_machine() -> None:
    with pytest.raises(DeclarationError, match=r"frontier: no bin takes 9473 nodes \(1 to 9472\)"):
        load_site("frontier").max_minutes(9473, "")


def test_unconfirmed_charges_are_marked() -> None:
    discount = load_site("perlmutter").qos["regular"].charge[1]
    assert (discount.from_nodes, discount.factor, discount.confirmed) == (128, 0.5, False)


def test_debug_takes_no_chains() -> None:
    assert not load_site("perlmutter").qos["debug"].chaining
    assert not load_site("frontier").qos["debug"].chaining


def test_a_piece_of_a_charge_names_nodes_that_there_are() -> None:
    slow = {"max_minutes": 9, "charge": [{"factor": 0.5, "nodes": ["gpu"]}]}
    with pytest.raises(ValueError, match=r"qos\.slow\.charge\.nodes 'gpu' is none of nodes"):
        changed(qos={"slow": slow})


@pytest.mark.parametrize("name", catalog.names("sites"))
def test_pilots_and_packs_fit_their_queues(name: str) -> None:
    site = load_site(name)
    for pilot in filter(None, (site.pilot, site.packs)):
        longest = site.max_minutes(pilot.nodes_per_block, pilot.role.qos)
        assert longest is None or pilot.walltime_minutes <= longest
        queue = site.qos.get(pilot.role.qos)
        assert pilot.walltime_minutes >= (queue.min_minutes or 0 if queue else 0)


@pytest.mark.parametrize("name", ["perlmutter", "frontier", "polaris"])
def test_a_home_is_not_for_runs(name: str) -> None:
    systems = load_site(name).file_systems
    assert not systems["home"].for_runs
    assert any(each.for_runs and each.locks for each in systems.values())


def changed(**changes: object) -> Site:
    return Site.model_validate(LOCAL.model_dump() | changes)


def test_a_role_names_nodes_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"training\.node 'gpu' is none of nodes: laptop"):
        changed(training=Role(node="gpu"))


def test_a_role_names_a_queue_that_there_is() -> None:
    pilot = LOCAL.pilot.model_copy(update={"role": Role(node="laptop", qos="fast")})
    with pytest.raises(ValueError, match=r"pilot\.role\.qos 'fast' is none of qos: slow"):
        changed(pilot=pilot, qos={"slow": Qos(max_minutes=1)})


def test_bins_may_overlap_and_the_longest_holds() -> None:
    bins = (
        Bin(min_nodes=1, max_nodes=8, max_minutes=60),
        Bin(min_nodes=4, max_nodes=8, max_minutes=90),
    )
    assert changed(bins=bins).max_minutes(4, "") == 90


def test_the_site_is_recognised_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NERSC_HOST", raising=False)
    monkeypatch.delenv("LMOD_SYSTEM_NAME", raising=False)
    assert load_site().name == "local"
    monkeypatch.setenv("NERSC_HOST", "perlmutter")
    assert load_site().name == "perlmutter"
    monkeypatch.setenv("NERSC_HOST", "another")
    monkeypatch.setenv("LMOD_SYSTEM_NAME", "frontier")
    assert load_site().name == "frontier"
    assert load_site("testbed").name == "testbed"


def test_a_misspelt_site_is_corrected() -> None:
    with pytest.raises(DeclarationError, match=r"No site named 'perlmuter'. Did you mean 'perlm"):
        load_site("perlmuter")


def test_a_job_too_large_for_its_queue_names_those_that_take_it() -> None:
    expected = r"QOS 'preemptable' takes 10 nodes, not 16\. Choose with --qos: prod\."
    with pytest.raises(DeclarationError, match=expected):
        load_site("polaris").max_minutes(16, "preemptable")


def test_a_list_of_cpus_is_read_as_linux_writes_it() -> None:
    assert cpu_numbers("0-2,8,10-11") == [0, 1, 2, 8, 10, 11]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"device_order": (0, 1, 2, 2)},
            r"device_order \[0, 1, 2, 2\] has not each of 4 GPUs once",
        ),
        ({"device_cpus": ("0-3",)}, "device_cpus names 1 devices, and a node has 4"),
        ({"device_cpus": ("0-3", "3-5", "6", "7")}, "gives a CPU to two devices"),
        ({"device_cpus": ("0-3", "4..5", "6", "7")}, "'4..5' is no list of CPUs such as"),
    ],
)
def test_an_order_of_devices_that_cannot_be_is_refused(
    changes: dict[str, object], message: str
) -> None:
    node = load_site("perlmutter").nodes["gpu"].model_dump()
    with pytest.raises(ValueError, match=message):
        NodeClass.model_validate(node | changes)


def test_alternatives_are_queues_of_the_site_and_of_trainings_alone() -> None:
    polaris = load_site("polaris").model_dump()
    with pytest.raises(
        ValueError, match=r"training\.alternatives 'fast' is none of qos: prod, debug"
    ):
        Site.model_validate(polaris | {"training": {"node": "gpu", "alternatives": ("fast",)}})
    pilot = polaris["pilot"] | {"role": {"node": "gpu", "alternatives": ("prod",)}}
    with pytest.raises(ValueError, match=r"pilot\.role\.alternatives: only trainings have any"):
        Site.model_validate(polaris | {"pilot": pilot})
