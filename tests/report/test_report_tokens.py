"""The page of a campaign with a tokenizer says how good its codes are."""

from made_results import tokenized

from pipeline.campaign import load_campaign
from pipeline.report import write_report
from pipeline.run import Run


def test_usage_perplexity_and_errors_of_every_split_stand_on_the_page(tmp_path, site):
    campaign = load_campaign("omnijet-quick")
    run = Run(tmp_path, campaign.name)
    before = write_report(run, campaign, site).read_text()
    assert ">Tokenizers</h2>" not in before
    quality = {"usage": 0.875, "perplexity": 123.4, "reconstruction": {"log_pt": 0.2512}}
    run.task("tokenize/tokens").finish(
        tokenized(
            events={"train": 1197, "test": 303},
            points={"train": 74_001, "test": 18_002},
            rejected={"wide": 963, "empty": 0},
            splits={"train": quality, "test": quality},
        )
    )
    page = write_report(run, campaign, site).read_text()
    assert ">Tokenizers</h2>" in page
    for text in ("87.5 %", "123.4", "log pt 0.2512", "1,197", "18,002", "963 wide"):
        assert text in page
