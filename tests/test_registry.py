"""Every claim and every erratum of the book, measured."""

import pytest

from hopmix.claim import claims, errata


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.name)
def test_claim(claim):
    # Statements are read on the Ledger, in a terminal and in BibTeX, where a page's roles mean nothing.
    assert "{eq}" not in claim.statement and "{doc}" not in claim.statement
    verdict = claim.check()
    # A simulation, a reproduction or a finding may fail to reproduce and stay in the Ledger; an identity or a theorem that fails is a mistake of ours.
    assert verdict.holds or claim.kind not in ("identity", "theorem"), f"{claim.name}: {verdict.evidence}"
    assert verdict.evidence.measured == verdict.evidence.measured


@pytest.mark.parametrize("erratum", errata(), ids=lambda erratum: erratum.name)
def test_erratum_stands(erratum):
    verdict = erratum.check()
    assert verdict.holds, f"{erratum.name}: {verdict.evidence}"
