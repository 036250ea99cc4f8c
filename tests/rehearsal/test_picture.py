from pipeline.budget.account import Account
from pipeline.rehearsal.machine import DAY, EPOCH
from pipeline.rehearsal.picture import draw
from pipeline.rehearsal.rehearse import Rehearsal


def account(node_hours, begin_days, end_days):
    return Account(
        site="frontier",
        stage="pretrain",
        task="pretrain/m",
        job_key="m-1",
        job_id="1",
        nodes=1,
        reserved_node_hours=0,
        charged_node_hours=node_hours,
        seconds=60,
        start=EPOCH + begin_days * DAY,
        end=EPOCH + end_days * DAY,
        state="completed",
    )


ACCOUNTS = [account(10, 1, 3), account(4, 2, 2.5)]


def test_the_picture_is_of_its_policies_and_the_cap(tmp_path):
    told = Rehearsal("frontier", 96, 14, 20, 2, 2, 0, (), accounts=ACCOUNTS)
    draw({"regular": told, "preempt": told}, tmp_path / "new" / "burn.svg", 20.0)
    text = (tmp_path / "new" / "burn.svg").read_text()
    assert text.startswith("<?xml")
    for each in ("regular", "preempt", "the cap", "node-hours charged"):
        assert each in text
